-- Packages from the Python Package Index, and nothing more: what a package does when it is installed,
-- or run, meets the same gate.

use "pypi"
