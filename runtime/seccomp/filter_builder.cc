#include "runtime/seccomp/filter_builder.h"

#include <linux/audit.h>
#include <linux/seccomp.h>
#include <unistd.h>

#include <bit>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <sstream>

namespace sallyport::seccomp {
namespace {

static_assert(std::endian::native == std::endian::little,
              "the low half of an argument comes first");

#if defined(__x86_64__)
constexpr uint32_t kNativeArch = AUDIT_ARCH_X86_64;
#elif defined(__aarch64__)
constexpr uint32_t kNativeArch = AUDIT_ARCH_AARCH64;
#else
#error "no filter for this architecture"
#endif

[[noreturn]] void Die(const char* what, const char* name, int error) {
  std::fprintf(stderr, "seccomp filter: %s %s: %s\n", what, name, std::strerror(error));
  std::exit(1);
}

void Check0(int result, const char* what, const char* name) {
  if (result < 0) Die(what, name, -result);
}

/// The number of NAME here; negative when only other architectures have it.
int Number(const char* name) {
  const int number = seccomp_syscall_resolve_name(name);
  if (number == __NR_SCMP_ERROR) Die("unknown system call", name, EINVAL);
  return number;
}

sock_filter Statement(unsigned code, uint32_t k) {
  return {static_cast<uint16_t>(code), 0, 0, k};
}

/// Jumps over ON_TRUE or ON_FALSE instructions.
sock_filter Jump(unsigned test, uint32_t k, size_t on_true, size_t on_false) {
  if (on_true > 255 || on_false > 255) Die("jump too far in", "an argument check", ERANGE);
  return {static_cast<uint16_t>(BPF_JMP | test | BPF_K), static_cast<uint8_t>(on_true),
          static_cast<uint8_t>(on_false), k};
}

sock_filter Load(size_t offset) {
  return Statement(BPF_LD | BPF_W | BPF_ABS, static_cast<uint32_t>(offset));
}

sock_filter LoadArgument(unsigned index) {
  return Load(offsetof(seccomp_data, args) + index * sizeof(uint64_t));
}

sock_filter ReturnErrno(int error) {
  return Statement(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | static_cast<uint32_t>(error));
}

/// Falls off its end when the argument is one of VALUES, else refuses.
std::vector<sock_filter> OneOf(unsigned argument, std::initializer_list<uint32_t> values,
                               int error) {
  std::vector<sock_filter> code = {LoadArgument(argument)};
  size_t left = values.size();
  for (uint32_t value : values) code.push_back(Jump(BPF_JEQ, value, left--, 0));
  code.push_back(ReturnErrno(error));
  return code;
}

}  // namespace

FilterBuilder::FilterBuilder(uint32_t otherwise, uint32_t bad_arch)
    : context_(seccomp_init(otherwise)) {
  if (context_ == nullptr) Die("creating", "the filter", ENOMEM);
  Check0(seccomp_attr_set(context_, SCMP_FLTATR_ACT_BADARCH, bad_arch), "setting", "bad arch");
  // A balanced tree over the numbers instead of a list.
  Check0(seccomp_attr_set(context_, SCMP_FLTATR_CTL_OPTIMIZE, 2), "setting", "optimisation");
}

FilterBuilder::~FilterBuilder() {
  seccomp_release(context_);
}

void FilterBuilder::AddRules(uint32_t action, std::string_view names) {
  std::istringstream words{std::string(names)};
  for (std::string name; words >> name;) {
    const int number = Number(name.c_str());
    if (number < 0) continue;
    Check0(seccomp_rule_add_array(context_, action, number, 0, nullptr), "adding", name.c_str());
  }
}

void FilterBuilder::Allow(std::string_view names) {
  AddRules(SCMP_ACT_ALLOW, names);
}

void FilterBuilder::Refuse(int error, std::string_view names) {
  AddRules(SCMP_ACT_ERRNO(static_cast<uint32_t>(error)), names);
}

void FilterBuilder::AllowWhen(const char* name, std::initializer_list<scmp_arg_cmp> comparisons) {
  const int number = Number(name);
  if (number < 0) return;
  Check0(seccomp_rule_add_array(context_, SCMP_ACT_ALLOW, number,
                                static_cast<unsigned>(comparisons.size()), comparisons.begin()),
         "allowing", name);
}

void FilterBuilder::AddCheck(const char* name, std::vector<sock_filter> code) {
  const int number = Number(name);
  if (number < 0) return;
  for (Check& check : checks_) {
    if (check.syscall != static_cast<uint32_t>(number)) continue;
    check.code.insert(check.code.end(), code.begin(), code.end());
    return;
  }
  checks_.push_back({static_cast<uint32_t>(number), std::move(code)});
}

void FilterBuilder::RefuseValues(const char* name, unsigned argument,
                                 std::initializer_list<uint32_t> values, int error) {
  std::vector<sock_filter> code = {LoadArgument(argument)};
  size_t left = values.size();
  for (uint32_t value : values) {
    --left;
    code.push_back(Jump(BPF_JEQ, value, left, left == 0 ? 1 : 0));
  }
  code.push_back(ReturnErrno(error));
  AddCheck(name, std::move(code));
}

void FilterBuilder::RefuseOthers(const char* name, unsigned argument,
                                 std::initializer_list<uint32_t> values, int error) {
  AddCheck(name, OneOf(argument, values, error));
}

void FilterBuilder::RefuseBits(const char* name, unsigned argument, uint32_t bits, int error) {
  AddCheck(name, {LoadArgument(argument), Jump(BPF_JSET, bits, 0, 1), ReturnErrno(error)});
}

void FilterBuilder::RefuseOthersWhen(const char* name, unsigned selector, uint32_t selected,
                                     unsigned argument, std::initializer_list<uint32_t> values,
                                     int error) {
  const std::vector<sock_filter> inner = OneOf(argument, values, error);
  std::vector<sock_filter> code = {LoadArgument(selector),
                                   Jump(BPF_JEQ, selected, 0, inner.size())};
  code.insert(code.end(), inner.begin(), inner.end());
  AddCheck(name, std::move(code));
}

std::vector<sock_filter> FilterBuilder::Prologue() const {
  std::vector<sock_filter> code;
  std::vector<size_t> exits;  // Unconditional jumps to behind the prologue.
  const auto leave = [&] {
    exits.push_back(code.size());
    code.push_back(Statement(BPF_JMP | BPF_JA, 0));
  };
  code.push_back(Load(offsetof(seccomp_data, arch)));
  code.push_back(Jump(BPF_JEQ, kNativeArch, 1, 0));
  leave();  // Numbers mean something else there; the rules refuse the whole ABI.
  code.push_back(Load(offsetof(seccomp_data, nr)));
  for (const Check& check : checks_) {
    code.push_back(Jump(BPF_JEQ, check.syscall, 0, check.code.size() + 1));
    code.insert(code.end(), check.code.begin(), check.code.end());
    leave();  // The accumulator no longer holds the number.
  }
  for (size_t at : exits) code[at].k = static_cast<uint32_t>(code.size() - at - 1);
  return code;
}

std::vector<sock_filter> FilterBuilder::Program() const {
  std::FILE* file = std::tmpfile();
  if (file == nullptr) Die("creating", "a temporary file", errno);
  Check0(seccomp_export_bpf(context_, fileno(file)), "exporting", "the filter");
  std::rewind(file);
  std::vector<sock_filter> program;
  if (!checks_.empty()) program = Prologue();
  sock_filter instruction;
  while (std::fread(&instruction, sizeof instruction, 1, file) == 1) program.push_back(instruction);
  std::fclose(file);
  if (program.size() > BPF_MAXINSNS) Die("exporting", "the filter", E2BIG);
  return program;
}

std::string ToHeader(std::string_view name, const std::vector<sock_filter>& program) {
  std::string text =
      "// Generated by runtime/seccomp; see its README.md.\n#pragma once\n\n"
      "#include <linux/filter.h>\n\nnamespace sallyport {\n\ninline constexpr sock_filter ";
  text.append(name).append("[] = {\n");
  for (const sock_filter& filter : program) {
    char line[64];
    std::snprintf(line, sizeof line, "    {0x%x, %u, %u, 0x%x},\n", filter.code, filter.jt,
                  filter.jf, filter.k);
    text += line;
  }
  return text + "};\n\n}  // namespace sallyport\n";
}

}  // namespace sallyport::seccomp
