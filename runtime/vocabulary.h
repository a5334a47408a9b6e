// What the tokens of a text are: its bytes, its characters, or bytes and frequent pairs of tokens (byte-pair encoding: Gage 1994, Sennrich, Haddow and Birch
// 2016). A vocabulary is learned from a text, kept in checkpoints, and turns text to tokens and back.
#pragma once
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "runtime/error.h"
#include "runtime/program_generated.h"

namespace gradc::runtime {

class Vocabulary {
 public:
  using Kind = program::TokenKind;
  /// Of bytes.
  Vocabulary() { spell(); }
  /// characters: code points, rising. pairs: token 256 + i stands for two tokens before it, one behind the other.
  static Result<Vocabulary> create(Kind kind, std::vector<uint32_t> characters, std::vector<std::pair<uint32_t, uint32_t>> pairs);
  /// At most `size` tokens. Which characters there are follows from `text`, which pairs from the part `training` of it. `origin` is for messages.
  static Result<Vocabulary> learn(Kind kind, int64_t size, std::string_view text, std::string_view training, const std::string& origin);

  Kind kind() const { return kind_; }
  int64_t size() const { return int64_t(pieces_.size()); }
  /// The bytes that a token stands for.
  const std::string& piece(int64_t token) const { return pieces_[size_t(token)]; }
  Result<std::vector<int32_t>> encode(std::string_view text, const std::string& origin) const;

  const std::vector<uint32_t>& characters() const { return characters_; }
  const std::vector<std::pair<uint32_t, uint32_t>>& pairs() const { return pairs_; }

 private:
  void spell();   // fills pieces_ and ranks_
  void join(std::vector<uint32_t>& symbols) const;

  Kind kind_ = Kind::bytes;
  std::vector<uint32_t> characters_;
  std::vector<std::pair<uint32_t, uint32_t>> pairs_;
  std::vector<std::string> pieces_;
  std::unordered_map<uint64_t, uint32_t> ranks_;   // a pair, as two halves, to its place in pairs_
};

/// By the data set's name.
using Vocabularies = std::map<std::string, Vocabulary, std::less<>>;

/// The code point at the front of `text`, which it removes; -1: no UTF-8, and nothing is removed.
int64_t take_character(std::string_view& text);
std::string character_text(uint32_t code);

/// Bytes of the whole characters at the front of `text`, to print what arrives in parts: what follows may become one with further bytes. Bytes that cannot
/// belong to a character count as one.
size_t whole_characters(std::string_view text);
/// UTF-8 with U+FFFD for bytes that are none.
std::string readable(std::string_view text);

}  // namespace gradc::runtime
