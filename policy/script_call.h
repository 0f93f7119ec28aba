#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "policy/engine.h"
#include "policy/lua_state.h"
#include "policy/rule.h"
#include "policy/wait.h"

namespace sallyport::policy {

/// What the callbacks of one event work on, and what they decided. While one runs, the script's
/// objects find it through ScriptHost; those of another generation are refused.
struct Call {
  enum class Kind {
    kName,     ///< on.connect, asked about a DNS query.
    kFlow,     ///< on.connect.
    kRequest,  ///< on.request, or the function given to accept.
    kResponse,  ///< on.response.
  };
  enum class Decision { kNone, kAccepted, kDenied, kResponded };

  /// Whether its connection was accepted already.
  bool is_message() const { return kind == Kind::kRequest || kind == Kind::kResponse; }

  Kind kind = Kind::kFlow;
  uint64_t generation = 0;
  const Facts* facts = nullptr;
  const NameQuery* query = nullptr;  ///< For kName.

  Decision decision = Decision::kNone;
  std::string reason;  ///< For kDenied.
  int status = 403;    ///< For kDenied, of a request.
  Approval approval = Approval::kApproved;  ///< For kDenied: what the user said, if not yes.

  std::optional<Wait> wait;  ///< Set: the running function waits for this.
  WaitResult result;         ///< What came of it.
  bool refused_by_user = false;

  // kFlow and kName.
  using RulePtr = std::shared_ptr<Rule>;
  std::vector<RulePtr> matches;  ///< What match_http and its like matched; their objects hold indices.
  RulePtr accepted;              ///< For kAccepted. Its `id` is empty, or a name that it was given.
  int accepted_line = 0;         ///< Where, for raw bytes.
  std::optional<DnsOptions::Answers> answers;  ///< kName: given to accept.
  std::vector<Endpoint> resolvers;             ///< The same.
  RulePtr fallback;  ///< Accepted if nothing else is: the user said yes to the flow.
  int function = LUA_NOREF;      ///< Given to accept, for each request.
  bool interested = false;  ///< kName: a match_http or the like could grant a flow to the name.
  bool saw_flow = false;    ///< kName: a callback looked at what only a flow has.
  AddressFilter interest_filter;  ///< What the addresses of such a name may be.

  // kRequest and kResponse.
  RequestHead* request = nullptr;
  const TlsFacts* tls = nullptr;
  ResponseHead* answer = nullptr;       ///< The server's, for kResponse.
  std::optional<std::string> new_body;  ///< Assigned to req.body, or res.body.
  ResponseHead response;  ///< For kResponded.
  std::string response_body;
};

/// Push the objects that a callback is given.
void PushConnection(lua_State* lua);
void PushRequest(lua_State* lua);
void PushResponse(lua_State* lua);

/// Pushes ENDPOINT as a value of its own. KNOWN: its address is one.
void PushEndpoint(lua_State* lua, const Endpoint& endpoint, bool known);
/// `__newindex` of objects that nothing can be assigned to.
int RaiseReadOnly(lua_State* lua);

/// The call that the object at INDEX belongs to. Raises for an object of another kind, and for one
/// that a callback kept.
Call& CheckCall(lua_State* lua, int index, const char* kind);

/// Pushes a new object of KIND (its metatable's name) that belongs to the current call. METHODS are
/// its metamethods; `__index` gets the table FUNCTIONS as its first upvalue.
struct ObjectKind {
  const char* name;
  const luaL_Reg* metamethods;
  const luaL_Reg* functions;
};
void PushObject(lua_State* lua, const ObjectKind& kind, size_t number = 0);
/// The number given to PushObject.
size_t ObjectNumber(lua_State* lua, int index);

/// For `__index`: pushes function KEY (at index 2) of the object, or raises with the nearest word.
int IndexFunction(lua_State* lua, const char* what, std::initializer_list<std::string_view> fields);
/// Makes the running function wait for WHAT; NEXT goes on when CALL has its result. To be returned.
int YieldFor(lua_State* lua, Call& call, Wait what, lua_KFunction next);
/// The same for the user's answer to the question at INDEX, a string or nothing; it returns true to the
/// script, or ends its function and refuses what it is about.
int YieldForUser(lua_State* lua, Call& call, int index);
/// Raises for a second decision in one callback.
void CheckUndecided(lua_State* lua, const Call& call);

}  // namespace sallyport::policy
