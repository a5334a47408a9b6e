// Learning pairs goes through the different words of the training text, not through the text: a word is what pairs are not joined across, a run of letters,
// digits or signs with the blank before it, or a run of blanks. Equal counts are decided by the tokens' numbers, so that the same text gives the same
// vocabulary everywhere.
#include "runtime/vocabulary.h"

#include <algorithm>
#include <fmt/format.h>

namespace gradc::runtime {

constexpr int64_t byte_tokens = 256;
constexpr size_t longest_piece = 255;   // the length of a token is a u8 where a data set asks for it

int64_t take_character(std::string_view& text) {
  if (text.empty()) return -1;
  const auto first = uint8_t(text[0]);
  size_t length = first < 0x80 ? 1 : first >> 5 == 6 ? 2 : first >> 4 == 14 ? 3 : first >> 3 == 30 ? 4 : 0;
  if (length == 0 || length > text.size()) return -1;
  uint32_t code = length == 1 ? first : first & (0x7fu >> length);
  for (size_t i = 1; i < length; ++i) {
    if (uint8_t(text[i]) >> 6 != 2) return -1;
    code = code << 6 | (uint8_t(text[i]) & 0x3f);
  }
  constexpr uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};   // what has a shorter form must have it
  if (code < least[length] || code > 0x10ffff || (code >= 0xd800 && code < 0xe000)) return -1;
  text.remove_prefix(length);
  return code;
}

std::string character_text(uint32_t code) {
  if (code < 0x80) return {char(code)};
  if (code < 0x800) return {char(0xc0 | code >> 6), char(0x80 | (code & 0x3f))};
  if (code < 0x10000) return {char(0xe0 | code >> 12), char(0x80 | (code >> 6 & 0x3f)), char(0x80 | (code & 0x3f))};
  return {char(0xf0 | code >> 18), char(0x80 | (code >> 12 & 0x3f)), char(0x80 | (code >> 6 & 0x3f)), char(0x80 | (code & 0x3f))};
}

size_t whole_characters(std::string_view text) {
  // Only the last three bytes can begin a character that is not finished.
  for (size_t back = 1; back <= 3 && back <= text.size(); ++back) {
    const auto byte = uint8_t(text[text.size() - back]);
    if (byte >> 6 == 2) continue;
    size_t length = byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : byte >= 0xc0 ? 2 : 1;
    return back < length ? text.size() - back : text.size();
  }
  return text.size();
}

std::string readable(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    std::string_view before = text;
    if (take_character(text) >= 0) {
      out += before.substr(0, before.size() - text.size());
    } else {
      out += character_text(0xfffd);
      text.remove_prefix(1);
    }
  }
  return out;
}

static std::string name_of(uint32_t code) {
  return code < 0x20 || code == 0x7f ? fmt::format("U+{:04X}", code) : fmt::format("'{}' (U+{:04X})", character_text(code), code);
}

// Its characters one by one; an error if it is no UTF-8.
template <class Each>
static Status for_each_character(std::string_view text, const std::string& origin, Each each) {
  int64_t line = 1;
  for (std::string_view rest = text; !rest.empty();) {
    int64_t code = take_character(rest);
    if (code < 0)
      return Error{GRADC_CORRUPT, fmt::format("{}, line {}: byte 0x{:02x} is no UTF-8 (`tokens = \"bytes\"` and `tokens = \"pairs\"` take any bytes)", origin, line, uint8_t(rest[0]))};
    if (!each(uint32_t(code)))
      return Error{GRADC_RANGE, fmt::format("{}, line {}: the character {} is not in the vocabulary, which has those of the training text", origin, line, name_of(uint32_t(code)))};
    line += code == '\n';
  }
  return {};
}

static uint64_t key(uint32_t first, uint32_t second) { return uint64_t(first) << 32 | second; }

// Bytes of the word at the front of `text`.
static size_t word_length(std::string_view text) {
  auto kind = [&](size_t i) {
    const auto c = uint8_t(text[i]);
    if (c == ' ' || (c >= '\t' && c <= '\r')) return 0;
    return c >= '0' && c <= '9' ? 1 : (c | 0x20) >= 'a' && (c | 0x20) <= 'z' ? 2 : c >= 0x80 ? 2 : 3;
  };
  size_t end = 0;
  while (end < text.size() && kind(end) == 0) ++end;
  if (end == text.size()) return end;
  if (end > 0 && text[end - 1] == ' ') --end;   // belongs to what follows
  if (end > 0) return end;
  end = text[0] == ' ';
  const int same = kind(end);
  while (end < text.size() && kind(end) == same) ++end;
  return end;
}

static std::vector<uint32_t> bytes_of(std::string_view word) {
  std::vector<uint32_t> symbols;
  for (char c : word) symbols.push_back(uint8_t(c));
  return symbols;
}

// Every (first, second) to `token`, from the front.
static void replace(std::vector<uint32_t>& symbols, uint32_t first, uint32_t second, uint32_t token) {
  size_t to = 0;
  for (size_t i = 0; i < symbols.size(); ++i) {
    bool both = i + 1 < symbols.size() && symbols[i] == first && symbols[i + 1] == second;
    symbols[to++] = both ? token : symbols[i];
    i += both;
  }
  symbols.resize(to);
}

static std::vector<std::pair<uint32_t, uint32_t>> learn_pairs(std::string_view text, int64_t most) {
  struct Word {
    std::vector<uint32_t> symbols;
    int64_t count;
  };
  std::vector<Word> words;
  std::unordered_map<std::string_view, size_t> places;
  while (!text.empty()) {
    std::string_view word = text.substr(0, word_length(text));
    text.remove_prefix(word.size());
    auto [place, fresh] = places.try_emplace(word, words.size());
    if (fresh) words.push_back({bytes_of(word), 0});
    ++words[place->second].count;
  }
  // The most frequent pair is on top of a heap. What lies there with a count that is not the pair's any more has been overtaken, and is dropped when it comes up.
  std::unordered_map<uint64_t, int64_t> counts;
  std::vector<uint64_t> changed;
  auto count = [&](const Word& word, int64_t sign) {
    for (size_t i = 0; i + 1 < word.symbols.size(); ++i) {
      changed.push_back(key(word.symbols[i], word.symbols[i + 1]));
      counts[changed.back()] += sign * word.count;
    }
  };
  using Entry = std::pair<int64_t, uint64_t>;   // count, and the complement of the pair: of equal counts the lowest pair is on top
  std::vector<Entry> heap;
  auto update_heap = [&] {
    std::sort(changed.begin(), changed.end());
    changed.erase(std::unique(changed.begin(), changed.end()), changed.end());
    for (uint64_t pair : changed) {
      if (counts[pair] < 2) continue;   // a pair that occurs once helps nobody
      heap.push_back({counts[pair], ~pair});
      std::push_heap(heap.begin(), heap.end());
    }
    changed.clear();
  };
  for (const Word& word : words) count(word, 1);
  update_heap();
  std::vector<std::pair<uint32_t, uint32_t>> pairs;
  std::vector<size_t> lengths(size_t(byte_tokens), 1);
  while (int64_t(pairs.size()) < most && !heap.empty()) {
    auto [times, complement] = heap.front();
    std::pop_heap(heap.begin(), heap.end());
    heap.pop_back();
    auto first = uint32_t(~complement >> 32), second = uint32_t(~complement), token = uint32_t(byte_tokens + int64_t(pairs.size()));
    if (counts[~complement] != times || lengths[first] + lengths[second] > longest_piece) continue;
    pairs.push_back({first, second});
    lengths.push_back(lengths[first] + lengths[second]);
    for (Word& word : words) {
      bool found = false;
      for (size_t i = 0; i + 1 < word.symbols.size() && !found; ++i) found = word.symbols[i] == first && word.symbols[i + 1] == second;
      if (!found) continue;
      count(word, -1);
      replace(word.symbols, first, second, token);
      count(word, 1);
    }
    update_heap();
  }
  return pairs;
}

Result<Vocabulary> Vocabulary::create(Kind kind, std::vector<uint32_t> characters, std::vector<std::pair<uint32_t, uint32_t>> pairs) {
  Vocabulary vocabulary;
  vocabulary.kind_ = kind;
  bool sound = kind == Kind::bytes ? true : kind == Kind::characters ? !characters.empty() && std::is_sorted(characters.begin(), characters.end()) : kind == Kind::pairs;
  for (size_t i = 0; i < pairs.size(); ++i) sound = sound && std::max(pairs[i].first, pairs[i].second) < size_t(byte_tokens) + i;
  if (!sound) return Error{GRADC_CORRUPT, "a vocabulary that there cannot be"};
  vocabulary.characters_ = std::move(characters);
  vocabulary.pairs_ = std::move(pairs);
  vocabulary.spell();
  return vocabulary;
}

Result<Vocabulary> Vocabulary::learn(Kind kind, int64_t size, std::string_view text, std::string_view training, const std::string& origin) {
  if (kind == Kind::pairs) return create(kind, {}, learn_pairs(training, size - byte_tokens));
  if (kind == Kind::bytes) return Vocabulary();
  std::vector<bool> seen(0x110000);
  GRADC_TRY(for_each_character(text, origin, [&](uint32_t code) { return seen[code] = true; }));
  std::vector<uint32_t> characters;
  for (uint32_t code = 0; code < seen.size(); ++code)
    if (seen[code]) characters.push_back(code);
  if (int64_t(characters.size()) > size)
    return Error{GRADC_RANGE, fmt::format("{} has {} different characters, more than `vocabulary = {}`", origin, characters.size(), size)};
  return create(kind, std::move(characters), {});
}

void Vocabulary::spell() {
  pieces_.clear();
  ranks_.clear();
  if (kind_ == Kind::characters) {
    for (uint32_t code : characters_) pieces_.push_back(character_text(code));
    return;
  }
  for (int64_t byte = 0; byte < byte_tokens; ++byte) pieces_.push_back(std::string(1, char(byte)));
  for (auto [first, second] : pairs_) {
    ranks_.emplace(key(first, second), uint32_t(ranks_.size()));
    pieces_.push_back(pieces_[first] + pieces_[second]);
  }
}

// The pairs of a word, in the order in which they were learned.
void Vocabulary::join(std::vector<uint32_t>& symbols) const {
  while (true) {
    auto lowest = uint32_t(pairs_.size());
    for (size_t i = 0; i + 1 < symbols.size(); ++i)
      if (auto found = ranks_.find(key(symbols[i], symbols[i + 1])); found != ranks_.end()) lowest = std::min(lowest, found->second);
    if (lowest == pairs_.size()) return;
    replace(symbols, pairs_[lowest].first, pairs_[lowest].second, uint32_t(byte_tokens) + lowest);
  }
}

Result<std::vector<int32_t>> Vocabulary::encode(std::string_view text, const std::string& origin) const {
  std::vector<int32_t> tokens;
  if (kind_ == Kind::bytes)
    for (char c : text) tokens.push_back(uint8_t(c));
  if (kind_ == Kind::characters)
    GRADC_TRY(for_each_character(text, origin, [&](uint32_t code) {
      auto at = std::lower_bound(characters_.begin(), characters_.end(), code);
      if (at == characters_.end() || *at != code) return false;
      tokens.push_back(int32_t(at - characters_.begin()));
      return true;
    }));
  if (kind_ != Kind::pairs) return tokens;
  std::unordered_map<std::string_view, std::vector<uint32_t>> known;
  while (!text.empty()) {
    std::string_view word = text.substr(0, word_length(text));
    text.remove_prefix(word.size());
    auto [place, fresh] = known.try_emplace(word);
    if (fresh) join(place->second = bytes_of(word));
    tokens.insert(tokens.end(), place->second.begin(), place->second.end());
  }
  return tokens;
}

}  // namespace gradc::runtime
