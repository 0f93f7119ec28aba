#pragma once

#include <optional>
#include <string>

#include "policy/declarations.h"

namespace sallyport::policy {

/// What of DECLARED has to see the requests of a flow with FACTS ("http rules (policy.lua:3)", "the
/// secret TOKEN", "an on.request hook"), so that on.connect may not accept it as raw bytes; nothing for
/// a flow that may pass unread. The same that an `allow.tcp` of the file is held to when it loads:
/// http rules at their ports, secrets at theirs or 80 and 443, hooks at 80 and 443; of UDP port 443
/// alone, where HTTP/3 would be.
std::optional<std::string> WhatSeesRequests(const Declarations& declared, const Facts& facts);

}  // namespace sallyport::policy
