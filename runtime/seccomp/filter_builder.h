#pragma once

#include <linux/filter.h>
#include <seccomp.h>

#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

namespace sallyport::seccomp {

/// Builds one filter program at build time. A program consists of two parts: argument checks, which
/// can only refuse, and libseccomp's decision by system call, which comes behind them. Any mistake
/// (a misspelt name, a rule that libseccomp refuses) ends the generator and with it the build.
class FilterBuilder {
 public:
  /// OTHERWISE is done for every system call that no rule names, BAD_ARCH for every call through a
  /// foreign ABI (i386, x32, arm).
  FilterBuilder(uint32_t otherwise, uint32_t bad_arch);
  ~FilterBuilder();
  FilterBuilder(const FilterBuilder&) = delete;
  FilterBuilder& operator=(const FilterBuilder&) = delete;

  /// Allows system calls whatever their arguments. NAMES are separated by spaces; those that only
  /// other architectures have are skipped.
  void Allow(std::string_view names);
  /// Allows NAME when all COMPARISONS hold. Several rules for one name: any of them.
  void AllowWhen(const char* name, std::initializer_list<scmp_arg_cmp> comparisons);
  /// Answers system calls with ERRNO.
  void Refuse(int error, std::string_view names);

  /// The checks below look at the low 32 bits of an argument, which is what the kernel looks at for
  /// an int: a value with high bits set does not slip through. A call that passes a check is still
  /// decided by the rules above.

  /// Refuses NAME when ARGUMENT is one of VALUES.
  void RefuseValues(const char* name, unsigned argument, std::initializer_list<uint32_t> values,
                    int error);
  /// Refuses NAME when ARGUMENT is none of VALUES.
  void RefuseOthers(const char* name, unsigned argument, std::initializer_list<uint32_t> values,
                    int error);
  /// Refuses NAME when ARGUMENT has one of BITS.
  void RefuseBits(const char* name, unsigned argument, uint32_t bits, int error);
  /// Refuses NAME when the argument SELECTOR is SELECTED, and ARGUMENT none of VALUES.
  void RefuseOthersWhen(const char* name, unsigned selector, uint32_t selected, unsigned argument,
                        std::initializer_list<uint32_t> values, int error);

  /// The whole program.
  std::vector<sock_filter> Program() const;

 private:
  struct Check {
    uint32_t syscall;
    std::vector<sock_filter> code;  // Returns the refusal, or falls off its end.
  };
  void AddRules(uint32_t action, std::string_view names);
  void AddCheck(const char* name, std::vector<sock_filter> code);
  std::vector<sock_filter> Prologue() const;

  scmp_filter_ctx context_;
  std::vector<Check> checks_;
};

/// The C++ header that defines PROGRAM as `sallyport::NAME`.
std::string ToHeader(std::string_view name, const std::vector<sock_filter>& program);

}  // namespace sallyport::seccomp
