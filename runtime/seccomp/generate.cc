// Writes seccomp_guest.h, seccomp_warden.h, seccomp_broker.h and
// seccomp_online_broker.h into the folder it is given.

#include <cstdio>
#include <fstream>
#include <string>

#include "runtime/seccomp/filter_builder.h"
#include "runtime/seccomp/rules.h"

int main(int argc, char** argv) {
  using namespace sallyport::seccomp;
  if (argc != 2) {
    std::fprintf(stderr, "usage: %s FOLDER\n", argv[0]);
    return 2;
  }
  const auto write = [&](const char* role, const char* name,
                         const std::vector<sock_filter>& program) {
    std::ofstream file(std::string(argv[1]) + "/seccomp_" + role + ".h");
    file << ToHeader(name, program);
    file.close();
    return !file.fail();
  };
  const bool written = write("guest", "kGuestFilter", GuestProgram()) &&
                       write("warden", "kWardenFilter", WardenProgram()) &&
                       write("broker", "kBrokerFilter", BrokerProgram()) &&
                       write("online_broker", "kOnlineBrokerFilter", OnlineBrokerProgram());
  if (!written) std::perror(argv[1]);
  return written ? 0 : 1;
}
