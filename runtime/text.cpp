// A text is one long run of tokens. Its samples are windows: one behind the other where every sample is wanted once, anywhere where they are drawn (batch.h).
#include "runtime/text.h"

#include <algorithm>
#include <filesystem>
#include <fmt/format.h>

namespace gradc::runtime {

// A text is cut where a character begins.
static size_t character_start(std::string_view text, int64_t at) {
  auto place = size_t(std::clamp<int64_t>(at, 0, int64_t(text.size())));
  for (int back = 0; back < 3 && place > 0 && place < text.size() && uint8_t(text[place]) >> 6 == 2; ++back) --place;
  return place;
}

// What the selections leave; shares and numbers count bytes, and parts stay in one piece.
static Result<std::string_view> part_of(std::string_view text, const program::Split& split) {
  for (uint32_t i = 0; split.selections() && i < split.selections()->size(); ++i) {
    auto range = selected_range(*split.selections()->Get(i), int64_t(text.size()));
    if (!range) return std::move(range.error());
    size_t first = character_start(text, range->first), last = character_start(text, range->second);
    text = text.substr(first, last - first);
  }
  return text;
}

namespace {
struct File {
  Bytes content;
  std::string path;
  std::string_view part;   // of content
};
}  // namespace

static Result<File> open_text(const program::Split& split, const std::string& folder) {
  File file;
  if (!split.files() || split.files()->size() != 1) return Error{GRADC_INVALID, "a text is one file"};
  file.path = join_path(folder, split.files()->Get(0)->str());
  auto content = read_data_file(file.path);
  if (!content) return std::move(content.error());
  file.content = std::move(*content);
  if (file.content.size() == 0) return Error{GRADC_CORRUPT, fmt::format("'{}' is empty", file.path)};
  auto part = part_of(file.content.text(), split);
  if (!part) return std::move(part.error());
  file.part = *part;
  return file;
}

static Result<Vocabulary> learn(const program::DataSet& data, const std::string& folder) {
  const program::Tokens& tokens = *data.tokens();
  if (tokens.kind() == program::TokenKind::bytes) return Vocabulary();
  const program::Split* split = tokens.learn() ? find_split(data, tokens.learn()->string_view()) : nullptr;
  if (!split) return Error{GRADC_INTERNAL, "no split has the text to learn a vocabulary from"};
  auto file = open_text(*split, folder);
  if (!file) return std::move(file.error());
  return Vocabulary::learn(tokens.kind(), tokens.size(), file->content.text(), file->part, fmt::format("'{}'", file->path));
}

Result<Contents> read_text(const program::DataSet& data, const program::Split& split, const std::vector<FieldType>& fields, const std::string& folder, Vocabularies& vocabularies) {
  if (!data.tokens()) return Error{GRADC_INTERNAL, "a text without tokens"};
  auto file = open_text(split, folder);
  if (!file) return std::move(file.error());
  std::string name = data.name() ? data.name()->str() : "";
  if (!vocabularies.contains(name)) {
    auto learned = learn(data, folder);
    if (!learned) return std::move(learned.error());
    vocabularies.emplace(name, std::move(*learned));
  }
  const Vocabulary& vocabulary = vocabularies.at(name);
  auto tokens = vocabulary.encode(file->part, fmt::format("'{}'", file->path));
  if (!tokens) return std::move(tokens.error());
  Contents contents;
  std::error_code unknown;
  if (auto bytes = std::filesystem::file_size(file->path, unknown); !unknown) contents.file_bytes = bytes;
  for (const FieldType& field : fields) {
    const int64_t window = field.type.elements();
    if (int64_t(tokens->size()) < window)
      return Error{GRADC_RANGE, fmt::format("'{}' has {} tokens here, a window of '{}' is {}", file->path, tokens->size(), field.name, window)};
    const size_t element = info(field.type.element).bytes, bytes = tokens->size() * element;
    std::unique_ptr<uint8_t[]> values(new uint8_t[bytes + 1]);
    for (size_t i = 0; i < tokens->size(); ++i)
      if (field.type.element == ElementType::i32) store(values.get() + i * element, (*tokens)[i]);
      else values[i] = uint8_t(vocabulary.piece((*tokens)[i]).size());
    contents.columns.push_back({field, Bytes::own(std::move(values), bytes), int64_t(tokens->size()) / window, file->path, int64_t(tokens->size()) - window + 1});
  }
  return contents;
}

}  // namespace gradc::runtime
