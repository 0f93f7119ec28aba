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
  std::string_view code;                    // Four bytes an instruction.
  std::string_view lines;                   // How each one's differs from that of the one before.
  std::vector<int> absolute_lines;          // Where a byte is not enough: the lines themselves.
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

// Lines are differences of one byte each; where that is not enough it is -128, and the line itself
// stands in a second list.
void ReadLines(Reader& reader, Function& function) {
  function.lines = reader.Take(reader.Count());
  for (size_t count = reader.Count(); count > 0 && !reader.failed(); --count) {
    reader.Size();
    function.absolute_lines.push_back(reader.Line());
  }
}

// The lines of a function's instructions, asked for in ascending order: each byte is looked at once.
class LineCursor {
 public:
  LineCursor() = default;
  explicit LineCursor(const Function& function) : function_(&function), line_(function.line) {}

  int At(size_t instruction) {
    constexpr int8_t kAbsolute = -128;
    if (instruction >= function_->lines.size()) return function_->line;
    for (; next_ <= instruction; ++next_) {
      const auto difference = static_cast<int8_t>(function_->lines[next_]);
      if (difference == kAbsolute && next_absolute_ < function_->absolute_lines.size()) {
        line_ = function_->absolute_lines[next_absolute_++];
      } else {
        line_ += difference;
      }
    }
    return line_;
  }

 private:
  const Function* function_ = nullptr;
  size_t next_ = 0;
  size_t next_absolute_ = 0;
  int line_ = 0;
};

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
  function.code = reader.Take(4 * reader.Count());
  size_t constants = reader.Count();
  for (function.constants.reserve(constants); constants > 0 && !reader.failed(); --constants)
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
    lines_ = LineCursor(function);
    for (size_t at = 0; at < function.code.size() / 4; ++at) LookAt(function, at);
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

  static Instruction InstructionAt(const Function& function, size_t at) {
    Instruction instruction{0};
    std::memcpy(&instruction.word, function.code.data() + 4 * at, 4);
    return instruction;
  }

  // Of the chunk's bytes: one constant of a function is used again and again.
  bool IsDeclared(std::string_view name) {
    if (name.data() == last_declared_) return true;
    if (!declared_(name)) return false;
    last_declared_ = name.data();
    return true;
  }

  void Add(int line, std::string_view name, bool assigned) {
    uses_.push_back({std::string(name), line, assigned, locals_});
  }

  void AddAt(size_t at, std::string_view name, bool assigned) {
    if (name.empty() || (!assigned && IsDeclared(name))) return;
    Add(lines_.At(at), name, assigned);
  }

  void LookAt(const Function& function, size_t at) {
    const Instruction instruction = InstructionAt(function, at);
    switch (instruction.opcode()) {
      case kGetTabUp:
        if (IsEnvironment(function, instruction.b()))
          AddAt(at, Constant(function, instruction.c()), /*assigned=*/false);
        return;
      case kSetTabUp:
        if (IsEnvironment(function, instruction.a()))
          AddAt(at, Constant(function, instruction.b()), /*assigned=*/true);
        return;
      case kSetUpvalue:
        if (IsEnvironment(function, instruction.b())) AddAt(at, "_ENV", /*assigned=*/true);
        return;
      case kGetUpvalue:
        if (IsEnvironment(function, instruction.b())) LookAtFarName(function, at);
        return;
      default:
        return;
    }
  }

  // What follows a GETUPVAL of _ENV, where its constant is too far for GETTABUP.
  void LookAtFarName(const Function& function, size_t at) {
    if (at + 2 >= function.code.size() / 4) return;
    const Instruction load = InstructionAt(function, at + 1);
    const int a = InstructionAt(function, at).a();
    if (load.opcode() != kLoadK || load.a() != a + 1) return;
    const Instruction use = InstructionAt(function, at + 2);
    const bool read = use.opcode() == kGetTable && use.b() == a && use.c() == a + 1;
    AddAt(at, Constant(function, load.bx()), !read);
  }

  const std::function<bool(std::string_view)>& declared_;
  LineCursor lines_;  // Of the function that is looked at.
  const char* last_declared_ = nullptr;
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
