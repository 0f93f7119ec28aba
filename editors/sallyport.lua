---@meta
-- The names of the policy language, for editors with the Lua language server (LuaLS): put this file
-- where `workspace.library` points to. docs/policy-reference.md says more of each.

---@alias sallyport.Effect { http: fun(rule: sallyport.Rule), tcp: fun(rule: sallyport.Rule), udp: fun(rule: sallyport.Rule), icmp: fun(rule: sallyport.Rule), dns: fun(rule: sallyport.Rule) }

---Grants what the rule matches. Rules are ordered; the first that matches decides, and without one: deny.
---@type sallyport.Effect
allow = {}
---Denies what the rule matches.
---@type sallyport.Effect
deny = {}
---Asks the user about what the rule matches: `sandboxctl approvals`. There is no `ask.dns`.
---@type sallyport.Effect
ask = {}
---As a `host`: every public name. As a header's value: any.
---@type userdata
any = nil

---@class sallyport.Rule
---@field host? string|string[]|userdata name, "*.name" (below it), a list, or `any`
---@field ip? string|string[] address, CIDR or group; matches only flows without a name
---@field port? integer|table number, `{ from =, to = }` or a list; http: 80 and 443
---@field method? string|string[] http only
---@field path? string|string[] http only: globs, `*` within a segment, `**` across
---@field header? table<string, string|string[]|userdata> http only: all of them must hold
---@field otherwise? string http only: other requests to this host are denied with this reason
---@field tls? "intercept"|"passthrough" http only
---@field resolves_to? string|string[] what the name's addresses may be beside public
---@field to? string the flow goes to this "host:port" instead
---@field types? string|string[] dns only: record types beside A and AAAA
---@field reason? string what the guest and the audit log are told
---@field message? string what the user is told
---@field name? string the rule's id; default: file and line
---@field wait? string ask only: how long the guest waits for the answer
---@field show_body? string ask.http only: how much of a request's body you are shown, "1KiB"
---@field rate? string a budget: "100/min"
---@field bytes? table a budget: `{ up = "10MiB", down = "1GiB" }`
---@field connections? integer a budget
---@field lifetime? string a budget: "1h"

---@class sallyport.ApprovalFields
---@field webhook? string the "https://…" that questions are sent to
---@field key? userdata `env` or `file`: what questions to the webhook are signed with
---@field private? boolean the webhook may have a private address, or be this host
---@field command? string[] `{ "program", "argument" }`: it is given each question
---@field timeout? string "60s": how long each may take
---@class sallyport.SandboxFields
---@field image? string
---@field cpus? number
---@field memory? string "2GiB"
---@field workdir? string where the program starts
---@field hostname? string
---@field isolation? "vm"|"namespace"|"auto"
---@field mounts? table[] `{ "./work", "/work", mode = "rw" }`; `template = true`: a file with `${NAME}` of secrets in it
---@field env? table<string, string>
---@field timeout? string "1h": ends the sandbox
---@field network? boolean
---@field rate? string a budget of all flows and requests: "100/min"
---@field connections? integer a budget: how many at once
---@field bytes? table a budget: `{ up = "10MiB", down = "1GiB" }`
---@field approvals? sallyport.ApprovalFields who is asked besides the terminal
---What the sandbox is.
---@param fields sallyport.SandboxFields
function sandbox(fields) end

---@class sallyport.DnsFields
---@field resolvers? string[] addresses; default: the host's own
---@field families? "v4"|"both"
---@field unlisted? "explain"|"nxdomain" what a name without a rule is answered
---@field answers? "synthetic"|"real"
---How names are answered.
---@param fields sallyport.DnsFields
function dns(fields) end

---@class sallyport.UpstreamFields
---@field ca? string|string[] PEM files of roots
---@field proxy? string|userdata the host's own proxy
---@field no_proxy? string|string[] past the proxy
---@class sallyport.UpstreamHostFields
---@field ca? string|string[] PEM files of roots for this host
---@field pin? string|string[] "sha256/..." of a public key
---@field client_cert? table `{ cert = "file", key = "file" }`
---How the gate talks to servers: `upstream { … }`, or `upstream "HOST" { … }` for one.
---@param what sallyport.UpstreamFields|string
---@return fun(fields: sallyport.UpstreamHostFields)
function upstream(what) end

---@class sallyport.SecretFields
---@field from userdata `env`, `file`, `command`, `oauth2`, `github_app`
---@field hosts string|string[] who may receive it; grants nothing
---@field headers? string|string[] where its placeholder may stand
---@field query? boolean
---@field path? boolean
---@field body? "json"|"form"|"text"
---@field inject? table<string, string> `{ authorization = "Bearer {}" }`
---@field methods? string|string[]
---@field paths? string|string[]
---@field ports? integer|integer[]
---@field expose? boolean the guest gets the placeholder in its environment
---@field plaintext? boolean may go over HTTP without TLS
---@field scrub? boolean no answer shows the value
---@field foreign? "block"|"strip"|"pass" other credentials towards its hosts
---@field on_violation? "block"|"pass"|"terminate"
---@field placeholder? string its form
---A secret: `secret "NAME" { … }`. What it returns is a handle for callbacks: text with the placeholder.
---@param name string
---@return fun(fields: sallyport.SecretFields): string
function secret(name) end

---A variable of the user's environment.
---@param name string
---@return userdata
function env(name) end
---A file, without its last newline.
---@param path string
---@return userdata
function file(path) end
---What a program prints: `command { "gh", "auth", "token", lifetime = "1h" }`.
---@param argv table
---@return userdata
function command(argv) end

---@class sallyport.OAuth2Fields
---@field token_url string
---@field client_id string
---@field client_secret? userdata
---@field scopes? string[]
---@field audience? string
---@field grant? "client_credentials"|"refresh_token"
---@field refresh_token? userdata
---@field auth? "basic"|"post"
---@field private? boolean the endpoint may have a private address
---An access token from a token endpoint.
---@param fields sallyport.OAuth2Fields
---@return userdata
function oauth2(fields) end

---@class sallyport.GitHubAppFields
---@field app_id integer|string
---@field installation_id integer|string
---@field private_key userdata
---@field repositories? string[]
---@field permissions? table<string, string>
---@field base_url? string
---@field private? boolean the API may have a private address
---A GitHub App's installation token.
---@param fields sallyport.GitHubAppFields
---@return userdata
function github_app(fields) end

---The declarations of a preset: `use "npm"`.
---@param preset string
function use(preset) end

---@class sallyport.Events
---@field connect fun(host_or_function: string|fun(conn: sallyport.Connection), handler?: fun(conn: sallyport.Connection))
---@field request fun(host_or_function: string|fun(req: sallyport.Request), handler?: fun(req: sallyport.Request))
---@field response fun(host_or_function: string|fun(res: sallyport.Response), handler?: fun(res: sallyport.Response))
---Callbacks: `on.connect` for flows that no rule decided, `on.request` for requests that were granted,
---`on.response` for their answers.
---@type sallyport.Events
on = {}

---Writes a line of the policy's own into the audit log.
---@type { info: fun(what: string|table), warn: fun(what: string|table) }
log = {}
---Waits, in a callback: "1s".
---@param duration string
function sleep(duration) end
---A request from the host's side, in a callback; through the same address guard as the guest's.
---@param request table
---@return table
function fetch(request) end
---@class sallyport.Store
---@field get fun(key: string): any
---@field set fun(key: string, value: any)
---@field incr fun(key: string, by?: number): number
---What callbacks remember, for this sandbox.
---@type sallyport.Store
store = {}

---@class sallyport.Endpoint
---@field ip string?
---@field port integer
---@field is_loopback fun(self): boolean
---@field is_private fun(self): boolean
---@field is_link_local fun(self): boolean
---@field is_multicast fun(self): boolean
---@field is_broadcast fun(self): boolean
---@field is_documentation fun(self): boolean
---@field is_reserved fun(self): boolean
---@field is_metadata fun(self): boolean
---@field is_public fun(self): boolean

---@class sallyport.Match
---@field host string?
---@field port integer
---@field dst sallyport.Endpoint
---@field name string of a DNS query
---@field type string of a DNS query: "A"
---@field chain string[] of a DNS query: the aliases that the name led to
---@field accept fun(self, options?: table|fun(req: sallyport.Request), handler?: fun(req: sallyport.Request))

---@class sallyport.Connection
---@field id integer
---@field transport "tcp"|"udp"|"icmp"|"dns"
---@field src sallyport.Endpoint
---@field dst sallyport.Endpoint
---@field host string? the trusted name
---@field match_dns fun(self, pattern?: any): sallyport.Match?
---@field match_http fun(self, pattern: any): sallyport.Match?
---@field match_tcp fun(self, pattern: any): sallyport.Match?
---@field match_udp fun(self, pattern: any): sallyport.Match?
---@field match_icmp fun(self, pattern: any): sallyport.Match?
---@field accept fun(self)
---@field deny fun(self, reason?: string)
---@field ask fun(self, message?: string)

---@class sallyport.Request
---@field method string
---@field scheme "http"|"https"
---@field host string
---@field port integer
---@field path string without the query
---@field query string?
---@field headers table<string, string?> all fields of a name, joined; assigning replaces them
---@field tls table? `sni`, `alpn`, `version`
---@field conn sallyport.Connection
---@field body fun(self, max?: any): string? the body; assigning a string replaces it
---@field deny fun(self, refusal?: table|string)
---@field respond fun(self, response: table)
---@field ask fun(self, message?: string)

---@class sallyport.Response
---@field status integer
---@field headers table<string, string?> all fields of a name, joined; assigning replaces them
---@field request sallyport.Request
---@field body fun(self, max?: any): string? the body; assigning a string replaces it
---@field deny fun(self, refusal?: table|string)
