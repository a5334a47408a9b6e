// Texts: vocabularies that are learned and kept, windows in order and drawn, the parts of a split, and what is wrong with a text.
#include <catch2/catch.hpp>

#include <algorithm>
#include <filesystem>
#include <set>

#include "runtime/batch.h"
#include "runtime/checkpoint.h"
#include "runtime/data.h"
#include "runtime/generate.h"
#include "toy.h"

using namespace gradc::runtime;
using Kind = Vocabulary::Kind;

namespace {
template <class T>
std::string error_of(Result<T>&& result) {
  return result ? "" : result.error().message;
}

Vocabulary learned(Kind kind, int64_t size, std::string_view text) {
  auto vocabulary = Vocabulary::learn(kind, size, text, text, "'t.txt'");
  INFO((vocabulary ? "" : vocabulary.error().message));
  REQUIRE(vocabulary);
  return *vocabulary;
}

std::string decoded(const Vocabulary& vocabulary, const std::vector<int32_t>& tokens) {
  std::string text;
  for (int32_t token : tokens) text += vocabulary.piece(token);
  return text;
}

// A program whose data are windows of t.txt.
class Windows {
 public:
  Windows(Kind kind, int64_t size, int64_t window, const std::string& text) : folder_(toy::fresh_folder("text")) {
    toy::write_file(folder_ + "/t.txt", text);
    auto& data = *program.tables().data[0];
    data.directory = folder_;
    data.tokens = std::make_unique<gradc::program::TokensT>();
    data.tokens->kind = kind;
    data.tokens->size = size;
    data.tokens->learn = "train";
    data.fields.resize(2);
    for (int i = 0; i < 2; ++i) {
      data.fields[i]->name = i ? "bytes" : "window";
      data.fields[i]->type->element = i ? ElementType::u8 : ElementType::i32;
      data.fields[i]->type->shape = {window};
    }
    data.splits.resize(1);
    split("train");
  }
  gradc::program::SplitT& split(const std::string& name) {
    auto& data = *program.tables().data[0];
    if (name != "train") data.splits.push_back(std::make_unique<gradc::program::SplitT>());
    auto& split = *data.splits.back();
    split.name = name;
    split.kind = gradc::program::SourceKind::text;
    split.files = {"t.txt"};
    split.rows.clear();
    split.selections.clear();
    return split;
  }
  Result<Samples> read(const std::string& name = "train", Vocabularies* known = nullptr) {
    program.pack();
    model = toy::make(program);
    return read_split(*model->program(), "points", name, {}, known);
  }
  toy::Toy program;
  std::unique_ptr<Model> model;
  std::string folder_;
};

std::vector<int32_t> window_at(const Column& column, const uint8_t* at) {
  std::vector<int32_t> tokens;
  for (int64_t i = 0; i < column.field.type.elements(); ++i) tokens.push_back(load<int32_t>(at + i * 4));
  return tokens;
}
}  // namespace

TEST_CASE("characters are numbered by their code points") {
  Vocabulary vocabulary = learned(Kind::characters, 8, "b\xc3\xa9" "a\xe2\x82\xac" "b");
  CHECK(vocabulary.size() == 4);
  CHECK(*vocabulary.encode("ab\xc3\xa9\xe2\x82\xac", "x") == std::vector<int32_t>{0, 1, 2, 3});
  CHECK(vocabulary.piece(3) == "\xe2\x82\xac");
  CHECK_THAT(error_of(vocabulary.encode("a\nb", "the prompt")), Catch::Contains("the prompt, line 1") && Catch::Contains("U+000A"));
  CHECK_THAT(error_of(vocabulary.encode("ab\xc3", "'v.txt'")), Catch::Contains("byte 0xc3 is no UTF-8"));
  CHECK_THAT(error_of(Vocabulary::learn(Kind::characters, 2, "abc", "abc", "'t.txt'")), Catch::Contains("'t.txt' has 3 different characters") && Catch::Contains("vocabulary = 2"));
}

TEST_CASE("text that is no UTF-8") {
  for (std::string bad : {"\x80", "\xc0\xaf", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xe2\x82", "\xff"}) {
    INFO(bad);
    std::string_view rest = bad;
    CHECK(take_character(rest) == -1);
    CHECK(rest.size() == bad.size());
    CHECK_FALSE(Vocabulary::learn(Kind::characters, 100, "a\n" + bad, "", "x"));
    CHECK(learned(Kind::pairs, 300, bad).encode(bad, "x")->size() == bad.size());
  }
  for (uint32_t code : {0x24u, 0x7ffu, 0x800u, 0xffffu, 0x10000u, 0x10ffffu}) {
    std::string text = character_text(code);
    std::string_view rest = text;
    CHECK(take_character(rest) == code);
    CHECK(rest.empty());
    for (size_t part = 1; part < text.size(); ++part) CHECK(whole_characters("a" + text.substr(0, part)) == 1);
    CHECK(whole_characters("a" + text) == 1 + text.size());
  }
  CHECK(whole_characters("a\x80\x80\x80") == 4);   // nothing that could become a character
}

TEST_CASE("pairs are joined by how often they occur, equal ones by number, and never across words") {
  Vocabulary vocabulary = learned(Kind::pairs, 258, "abab abab abc");
  REQUIRE(vocabulary.size() == 258);
  CHECK(vocabulary.piece(256) == "ab");
  CHECK(vocabulary.piece(257) == " ab");
  std::string text = "hello hello, hello 12 12 \xe2\x82\xac\xe2\x82\xac\n\n  hello";
  Vocabulary more = learned(Kind::pairs, 4096, text);
  CHECK(more.size() < 4096);   // no pair is left that occurs twice
  for (int64_t token = 256; token < more.size(); ++token) CHECK(more.piece(token).find("o,") == std::string::npos);
  for (std::string_view each : {std::string_view(text), std::string_view("other words\xff"), std::string_view("")}) CHECK(decoded(more, *more.encode(each, "x")) == each);
  CHECK(more.encode("hello", "x")->size() == 1);
  CHECK(learned(Kind::pairs, 4096, text).pairs() == more.pairs());
}

TEST_CASE("windows lie one behind the other, or anywhere when they are drawn") {
  std::string text;
  for (int i = 0; i < 53; ++i) text += char('a' + i % 26);
  Windows windows(Kind::bytes, 256, 8, text);
  auto samples = windows.read();
  INFO((samples ? "" : samples.error().message));
  REQUIRE(samples);
  CHECK(samples->count == 6);
  CHECK(samples->positions == 46);
  const Column& window = *samples->column("window");
  CHECK(window_at(window, window.sample(1))[0] == 'a' + 8);
  CHECK(samples->column("bytes")->sample(5)[7] == 1);
  std::vector<uint32_t> order, again;
  std::set<uint32_t> starts;
  for (int64_t epoch = 0; epoch < 200; ++epoch) {
    order_epoch(order, *samples, 3, 0, epoch);
    CHECK(order.size() == 6);
    starts.insert(order.begin(), order.end());
  }
  CHECK(starts.size() == 46);   // all of them, and no other
  CHECK(*starts.rbegin() == 45);
  order_epoch(again, *samples, 3, 0, 199);
  CHECK(again == order);
  order_epoch(again, *samples, 4, 0, 199);
  CHECK(again != order);
  std::vector<uint8_t> rows(2 * window.sample_bytes());
  gather_rows(window, {45, 13}, 0, 2, rows.data());
  CHECK(load<int32_t>(rows.data()) == 'a' + 45 % 26);
  CHECK(load<int32_t>(rows.data() + window.sample_bytes() + 4) == 'a' + 14);
}

TEST_CASE("a split of a text keeps its parts in one piece, cut between characters") {
  std::string text = "aaaaaaaaa\xc3\xa9" "aaaaaaaaa";   // 20 bytes
  Windows windows(Kind::characters, 16, 2, text);
  for (const char* name : {"first", "rest"}) {
    auto& split = windows.split(name);
    split.selections.push_back(std::make_unique<gradc::program::SelectionT>());
    split.selections[0]->shares = {0.5};
    split.selections[0]->share = name[0] == 'r';
  }
  Vocabularies known;
  auto first = windows.read("first", &known), rest = windows.read("rest", &known);
  REQUIRE(first);
  REQUIRE(rest);
  CHECK(first->positions == 8);   // nine characters
  CHECK(rest->positions == 9);
  CHECK(load<int32_t>(rest->column("window")->sample(0)) == 1);   // begins with the one that a cut by bytes would have halved
  CHECK(rest->column("bytes")->sample(0)[0] == 2);
  CHECK(known.at("points").size() == 2);
}

TEST_CASE("texts that cannot be data") {
  std::string text = "abcabcabcabc";
  Windows windows(Kind::characters, 3, 5, text);
  REQUIRE(windows.read());
  Vocabularies known;
  known.emplace("points", learned(Kind::characters, 3, "ab"));   // of a checkpoint
  CHECK_THAT(error_of(windows.read("train", &known)), Catch::Contains("points.train") && Catch::Contains("t.txt', line 1") && Catch::Contains("'c' (U+0063) is not in the vocabulary"));
  toy::write_file(windows.folder_ + "/t.txt", "abcd\nefgh");
  CHECK_THAT(error_of(windows.read()), Catch::Contains("has 9 different characters"));
  toy::write_file(windows.folder_ + "/t.txt", "abca");
  CHECK_THAT(error_of(windows.read()), Catch::Contains("has 4 tokens here, a window of 'window' is 5"));
  toy::write_file(windows.folder_ + "/t.txt", "");
  CHECK_THAT(error_of(windows.read()), Catch::Contains("is empty"));
  std::filesystem::remove(windows.folder_ + "/t.txt");
  CHECK_THAT(error_of(windows.read()), Catch::Contains("t.txt") && Catch::Contains("--data"));
}

TEST_CASE("checkpoints hold vocabularies") {
  Windows windows(Kind::pairs, 300, 4, "some text and some more text");
  windows.program.pack();
  auto model = toy::make(windows.program), other = toy::make(windows.program);
  model->vocabularies.emplace("points", learned(Kind::pairs, 300, "some text and some more text"));
  std::string path = windows.folder_ + "/a.ckpt";
  REQUIRE(save_checkpoint(path, *model, {}, {}));
  REQUIRE(load_checkpoint(path, *other, Purpose::inference));
  CHECK(other->vocabularies.at("points").pairs() == model->vocabularies.at("points").pairs());
  CHECK(other->vocabularies.at("points").size() > 256);
  model->vocabularies.at("points") = learned(Kind::characters, 300, "abc\xc3\xa9");
  REQUIRE(save_checkpoint(path, *model, {}, {}));
  CHECK_THAT(error_of(load_checkpoint(path, *other, Purpose::inference)), Catch::Contains("another model") && Catch::Contains("4 tokens"));
  windows.program.tables().data[0]->tokens->kind = Kind::characters;
  windows.program.pack();
  other = toy::make(windows.program);
  REQUIRE(load_checkpoint(path, *other, Purpose::inference));
  CHECK(other->vocabularies.at("points").characters() == std::vector<uint32_t>{'a', 'b', 'c', 0xe9});
}

TEST_CASE("the next token is chosen by temperature, among the likeliest, under a seed") {
  const float logits[] = {0, 2, 1, 2, 9};
  Generator generator{1};
  CHECK(choose_token(logits, 4, {0, 0}, generator) == 1);   // the likeliest, the first of equal ones; 4 has no meaning
  CHECK(choose_token(logits, 4, {1, 1}, generator) == 1);
  double counts[5] = {};
  for (int i = 0; i < 20000; ++i) ++counts[choose_token(logits, 4, {1, 0}, generator)];
  double total = 1 + 2 * std::exp(2.) + std::exp(1.);
  CHECK(counts[0] / 20000 == Approx(1 / total).margin(0.01));
  CHECK(counts[1] / 20000 == Approx(std::exp(2.) / total).margin(0.015));
  CHECK(counts[4] == 0);
  std::set<int64_t> seen;
  for (int i = 0; i < 1000; ++i) seen.insert(choose_token(logits, 4, {1, 3}, generator));
  CHECK(seen == std::set<int64_t>{1, 2, 3});
  Generator first{5}, second{5};
  for (int i = 0; i < 50; ++i) CHECK(choose_token(logits, 4, {0.7, 0}, first) == choose_token(logits, 4, {0.7, 0}, second));
}
