#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace sallyport::secrets {

/// The credentials ("user:password") in the field value "Basic …", decoded. Tolerates what servers
/// do: any case of the scheme, white space anywhere, padding that is missing or too much, and
/// either alphabet. Nothing for another scheme, or for what is no base64.
std::optional<std::string> DecodeBasic(std::string_view field_value);

/// CREDENTIALS as a field value, padded, in one allocation of its own. The caller wipes it.
std::string EncodeBasic(std::string_view credentials);

}  // namespace sallyport::secrets
