#pragma once

#include <string>
#include <vector>

#include "base/result.h"

namespace sallyport::runtime {

/// What of a folder the host runs, or takes orders from, as soon as somebody works there: files and
/// folders that a sandbox with the folder to write in must find read-only. Relative to SOURCE, what
/// leads there first; a link is named as itself.
///
/// At the top .envrc and .vscode. At the top and in the folders below it, of each git repository
/// `.git` where it is a file, and of each git directory (also bare ones, those of submodules and of
/// linked work trees) `config`, `config.worktree`, `hooks`, `commondir` and `gitdir`: they say what
/// git runs, or where it reads that. Attributes are left out: they name filters that only `config`
/// defines, and a work tree has its own.
///
/// The search ends eight folders down and after 4096 folders, the upper ones first. kLimit when
/// there are more than 512 things to protect.
Result<std::vector<std::string>> FindWhatHostRuns(const std::string& source);

}  // namespace sallyport::runtime
