#include "policy/chunk_scan.h"

#include <cstdint>
#include <cstring>

// The format is that of Lua 5.4's ldump.c: a header, the number of upvalues, then the main function
// with those inside it. Of the instructions, four speak of globals:
//
//     GETTABUP  A B C   R[A] := UpValue[B][K[C]]
//     SETTABUP  A B C   UpValue[A][K[B]] := ...
//     SETUPVAL  A B     UpValue[B] := R[A]
//     GETUPVAL  A B     R[A] := UpValue[B]; where the name is not among the first 256 constants (or
//                       is longer than 40 bytes), LOADK R[A+1] and GETTABLE or SETTABLE follow
//
// with the upvalue called _ENV. The chunk was compiled by the Lua that this program uses, a moment
// ago; lengths are checked all the same.

namespace sallyport::policy {
namespace {

constexpr int kMaxNesting = 250;  // Lua's parser stops at 200.

enum Opcode : uint8_t {
  kLoadK = 3,
  kGetUpvalue = 9,
  kSetUpvalue = 10,
  kGetTabUp = 11,
  kGetTable = 12,
  kSetTabUp = 15,
};

struct Instruction {
  uint32_t word;
  uint8_t opcode() const { return word & 0x7f; }
  uint8_t a() const { return static_cast<uint8_t>(word >> 7); }
  uint8_t b() const { return static_cast<uint8_t>(word >> 16); }
  uint8_t c() const { return static_cast<uint8_t>(word >> 24); }
  uint32_t bx() const { return word >> 15; }
};

struct Function {
  int line = 0;
  std::vector<Instruction> code;
  std::vector<int> lines;                   // Of each instruction.
  std::vector<std::string_view> constants;  // Empty where it is no string.
  std::vector<std::string_view> upvalues;
  std::vector<std::string_view> locals;
  std::vector<Function> inner;
};

class Reader {
 public:
  explicit Reader(std::string_view text) : rest_(text) {}

  bool failed() const { return failed_; }

  std::string_view Take(size_t count) {
    if (count > rest_.size()) {
      failed_ = true;
      rest_ = {};
      return {};
    }
    const auto taken = rest_.substr(0, count);
    rest_.remove_prefix(count);
    return taken;
  }
  uint8_t Byte() {
    const auto byte = Take(1);
    return byte.empty() ? uint8_t{0} : static_cast<uint8_t>(byte.front());
  }
  // Seven bits a byte, the highest first; the last one has its high bit set.
  size_t Size() {
    size_t value = 0;
    for (int i = 0; i < 9 && !failed_; ++i) {
      const uint8_t byte = Byte();
      value = value << 7 | (byte & 0x7f);
      if ((byte & 0x80) != 0) return value;
    }
    failed_ = true;
    return 0;
  }
  // A number of things that take at least a byte each.
  size_t Count() {
    const size_t count = Size();
    if (count <= rest_.size()) return count;
    failed_ = true;
    return 0;
  }
  int Line() { return static_cast<int>(Size() & INT32_MAX); }
  std::string_view String() {
    const size_t size = Size();  // One more than its length; 0 for none.
    return size == 0 ? std::string_view() : Take(size - 1);
  }

 private:
  std::string_view rest_;
  bool failed_ = false;
};

std::string_view ReadConstant(Reader& reader) {
  switch (reader.Byte()) {
    case 0x00:  // nil
    case 0x01:  // false
    case 0x11:  // true
      return {};
    case 0x03:  // An integer.
    case 0x13:  // A float.
      reader.Take(8);
      return {};
    case 0x04:  // A short string.
    case 0x14:  // A long one.
      return reader.String();
    default:
      reader.Take(SIZE_MAX);
      return {};
  }
}

void ReadCode(Reader& reader, Function& function) {
  for (size_t count = reader.Count(); count > 0 && !reader.failed(); --count) {
    const auto bytes = reader.Take(4);
    Instruction instruction{0};
    if (bytes.size() == 4) std::memcpy(&instruction.word, bytes.data(), 4);
    function.code.push_back(instruction);
  }
}

// Lines are differences of one byte each; where that is not enough it is -128, and the line itself
// stands in a second list.
void ReadLines(Reader& reader, Function& function) {
  constexpr int8_t kAbsolute = -128;
  const auto differences = reader.Take(reader.Count());
  std::vector<int> absolute;
  for (size_t count = reader.Count(); count > 0 && !reader.failed(); --count) {
    reader.Size();
    absolute.push_back(reader.Line());
  }
  int line = function.line;
  size_t next = 0;
  for (const char byte : differences) {
    const auto difference = static_cast<int8_t>(byte);
    if (difference == kAbsolute && next < absolute.size()) {
      line = absolute[next++];
    } else {
      line += difference;
    }
    function.lines.push_back(line);
  }
}

void ReadNames(Reader& reader, Function& function) {
  for (size_t count = reader.Count(); count > 0 && !reader.failed(); --count) {
    const auto name = reader.String();
    reader.Size();
    reader.Size();
    // Those that the compiler makes have names like "(for state)".
    if (!name.starts_with('(')) function.locals.push_back(name);
  }
  for (size_t count = reader.Count(); count > 0 && !reader.failed(); --count)
    function.upvalues.push_back(reader.String());
}

Function ReadFunction(Reader& reader, int depth) {
  Function function;
  if (depth > kMaxNesting) reader.Take(SIZE_MAX);
  reader.String();  // The chunk's name, in the outermost.
  function.line = reader.Line();
  reader.Size();
  reader.Take(3);  // Parameters, whether it takes more, registers.
  ReadCode(reader, function);
  for (size_t count = reader.Count(); count > 0 && !reader.failed(); --count)
    function.constants.push_back(ReadConstant(reader));
  for (size_t count = reader.Count(); count > 0 && !reader.failed(); --count) reader.Take(3);
  for (size_t count = reader.Count(); count > 0 && !reader.failed(); --count)
    function.inner.push_back(ReadFunction(reader, depth + 1));
  ReadLines(reader, function);
  ReadNames(reader, function);
  return function;
}

class Scan {
 public:
  explicit Scan(const std::function<bool(std::string_view)>& declared) : declared_(declared) {}

  void Look(const Function& function) {
    const size_t outer = locals_.size();
    for (const auto name : function.locals) {
      if (name == "_ENV") Add(function.line, "_ENV", /*assigned=*/true);
      locals_.emplace_back(name);
    }
    for (size_t at = 0; at < function.code.size(); ++at) LookAt(function, at);
    for (const Function& inner : function.inner) Look(inner);
    locals_.resize(outer);
  }

  std::vector<GlobalUse> Take() { return std::move(uses_); }

 private:
  static bool IsEnvironment(const Function& function, size_t upvalue) {
    return upvalue < function.upvalues.size() && function.upvalues[upvalue] == "_ENV";
  }

  static std::string_view Constant(const Function& function, size_t index) {
    return index < function.constants.size() ? function.constants[index] : std::string_view();
  }

  void Add(int line, std::string_view name, bool assigned) {
    if (name.empty() || (!assigned && declared_(name))) return;
    uses_.push_back({std::string(name), line, assigned, locals_});
  }

  void LookAt(const Function& function, size_t at) {
    const Instruction instruction = function.code[at];
    const int line = at < function.lines.size() ? function.lines[at] : function.line;
    switch (instruction.opcode()) {
      case kGetTabUp:
        if (IsEnvironment(function, instruction.b()))
          Add(line, Constant(function, instruction.c()), /*assigned=*/false);
        return;
      case kSetTabUp:
        if (IsEnvironment(function, instruction.a()))
          Add(line, Constant(function, instruction.b()), /*assigned=*/true);
        return;
      case kSetUpvalue:
        if (IsEnvironment(function, instruction.b())) Add(line, "_ENV", /*assigned=*/true);
        return;
      case kGetUpvalue:
        if (IsEnvironment(function, instruction.b())) LookAtFarName(function, at, line);
        return;
      default:
        return;
    }
  }

  // What follows a GETUPVAL of _ENV, where its constant is too far for GETTABUP.
  void LookAtFarName(const Function& function, size_t at, int line) {
    if (at + 2 >= function.code.size()) return;
    const Instruction load = function.code[at + 1];
    const int a = function.code[at].a();
    if (load.opcode() != kLoadK || load.a() != a + 1) return;
    const Instruction use = function.code[at + 2];
    const bool read = use.opcode() == kGetTable && use.b() == a && use.c() == a + 1;
    Add(line, Constant(function, load.bx()), !read);
  }

  const std::function<bool(std::string_view)>& declared_;
  std::vector<std::string> locals_;
  std::vector<GlobalUse> uses_;
};

bool TakesHeader(Reader& reader) {
  constexpr int64_t kInteger = 0x5678;
  constexpr double kNumber = 370.5;
  std::string wanted("\x1bLua\x54\x00\x19\x93\r\n\x1a\n\x04\x08\x08", 15);
  wanted.append(reinterpret_cast<const char*>(&kInteger), sizeof(kInteger));
  wanted.append(reinterpret_cast<const char*>(&kNumber), sizeof(kNumber));
  return reader.Take(wanted.size()) == wanted;
}

}  // namespace

std::optional<std::vector<GlobalUse>> ScanChunk(
    std::string_view dump, const std::function<bool(std::string_view)>& declared) {
  Reader reader(dump);
  if (!TakesHeader(reader)) return std::nullopt;
  reader.Byte();  // The main function's upvalues: one, _ENV.
  const Function main = ReadFunction(reader, 0);
  if (reader.failed()) return std::nullopt;
  Scan scan(declared);
  scan.Look(main);
  return scan.Take();
}

}  // namespace sallyport::policy
