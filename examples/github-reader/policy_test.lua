-- sandboxctl policy test policy_test.lua
policy "policy.lua"

test("the agent reads repositories and its user", function()
  expect(http "GET https://api.github.com/user"):allowed()
  expect(http "HEAD https://api.github.com/repos/lua/lua"):allowed()
end)

test("the agent only reads", function()
  expect(http "DELETE https://api.github.com/repos/lua/lua"):denied "this agent only reads"
  expect(http "GET https://api.github.com/gists"):denied "this agent only reads"
end)

test("nothing else can be reached", function()
  expect(http "GET https://example.com/"):denied "name_not_granted"
  expect(dns "example.com"):refused()
  expect(tcp "api.github.com:22"):denied()
end)
