#include "runtime/warden/reload_message.h"

#include "guest/protocol/cbor.h"

namespace sallyport::runtime {
namespace {

using guest::CborReader;
using guest::CborWriter;

Status ReadText(CborReader& in, std::string& text) {
  auto read = in.Text();
  if (!read) return tl::unexpected(std::move(read).error());
  text = *read;
  return {};
}

Status ReadValues(CborReader& in, std::vector<std::pair<std::string, std::string>>& values) {
  auto count = in.Map();
  if (!count) return tl::unexpected(std::move(count).error());
  for (size_t i = 0; i < *count; ++i) {
    auto& value = values.emplace_back();
    if (auto read = ReadText(in, value.first); !read) return read;
    if (auto read = ReadText(in, value.second); !read) return read;
  }
  return {};
}

Status ReadFiles(CborReader& in, std::vector<std::string>& files) {
  auto count = in.Array();
  if (!count) return tl::unexpected(std::move(count).error());
  for (size_t i = 0; i < *count; ++i) {
    if (auto read = ReadText(in, files.emplace_back()); !read) return read;
  }
  return {};
}

}  // namespace

std::string ReloadMessage::Encode() const {
  CborWriter out;
  out.Array(5);
  out.Text(text);
  out.Text(name);
  out.Text(folder);
  out.Array(files.size());
  for (const auto& file : files) out.Text(file);
  out.Map(values.size());
  for (const auto& [secret, value] : values) {
    out.Text(secret);
    out.Text(value);
  }
  return out.Take();
}

Result<ReloadMessage> ReloadMessage::Decode(std::string_view bytes) {
  CborReader in(bytes);
  auto fields = in.Array();
  if (!fields) return tl::unexpected(std::move(fields).error());
  if (*fields != 5) return Fail(Code::kInvalid, "wrong number of fields");
  ReloadMessage message;
  for (std::string* text : {&message.text, &message.name, &message.folder}) {
    if (auto read = ReadText(in, *text); !read) return tl::unexpected(std::move(read).error());
  }
  if (auto read = ReadFiles(in, message.files); !read) {
    return tl::unexpected(std::move(read).error());
  }
  if (auto read = ReadValues(in, message.values); !read) {
    return tl::unexpected(std::move(read).error());
  }
  if (auto end = in.End(); !end) return tl::unexpected(std::move(end).error());
  return message;
}

}  // namespace sallyport::runtime
