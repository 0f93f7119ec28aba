// What a broker is born to know, what it is asked and what it answers: whatever is taken is written the same way
// again.

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string_view>

#include "runtime/broker/messages.h"
#include "runtime/broker/requests.h"

using namespace sallyport::runtime;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  if (const auto launch = BrokerLaunch::Decode(input); launch && launch->Encode() != input) abort();

  BrokerRequestReader requests;
  requests.Take(input);
  for (size_t read = 0;;) {
    const auto request = requests.Next();
    if (!request || !*request) break;
    const std::string again = (*request)->Encode();
    if (input.substr(read, again.size()) != again) abort();
    read += again.size();
  }

  BrokerAnswerReader reader;
  std::string_view rest = input;
  size_t taken = 0;
  while (!rest.empty()) {
    const auto [space, room] = reader.Space();
    const size_t count = std::min<size_t>(room, 1 + rest.size() % 7);
    if (count > rest.size()) break;
    std::memcpy(space, rest.data(), count);
    reader.Stored(count);
    rest.remove_prefix(count);
    for (;;) {
      const auto answer = reader.Next();
      if (!answer) return 0;
      if (!*answer) break;
      const Wiped again = (*answer)->Encode();
      if (input.substr(taken, again.text.size()) != again.text) abort();
      taken += again.text.size();
    }
  }
  return 0;
}
