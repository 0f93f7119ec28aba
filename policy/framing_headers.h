#pragma once

#include <string_view>

namespace sallyport::policy {

/// Whether NAME is a field that belongs to the gate: framing, the connection, the authority, what is
/// meant for a proxy. Hooks and injected secrets may not touch it.
bool IsFramingHeader(std::string_view name);

}  // namespace sallyport::policy
