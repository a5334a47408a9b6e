// A session is as long as the network's context. The tokens are the same as without it, computed from all tokens of the session at once.
#include "runtime/generate.h"

#include <algorithm>
#include <cmath>
#include <fmt/format.h>

namespace gradc::runtime {

int64_t choose_token(const float* logits, int64_t known, const Sampling& sampling, Generator& generator) {
  auto likelier = [&](int64_t a, int64_t b) { return logits[a] > logits[b] || (logits[a] == logits[b] && a < b); };
  std::vector<int64_t> order(size_t(known), 0);
  for (int64_t token = 0; token < known; ++token) order[size_t(token)] = token;
  int64_t kept = sampling.temperature <= 0 ? 1 : sampling.top_k > 0 ? std::min(sampling.top_k, known) : known;
  std::partial_sort(order.begin(), order.begin() + kept, order.end(), likelier);
  if (kept == 1) return order[0];
  std::vector<double> sums;
  for (int64_t i = 0; i < kept; ++i) sums.push_back(std::exp((double(logits[order[size_t(i)]]) - double(logits[order[0]])) / sampling.temperature) + (i > 0 ? sums.back() : 0));
  auto place = std::upper_bound(sums.begin(), sums.end(), generator.uniform() * sums.back()) - sums.begin();
  return order[size_t(std::min<int64_t>(place, kept - 1))];
}

Result<Writer> Writer::create(Model& model, const std::string& export_name) {
  Writer writer;
  writer.model_ = &model;
  const program::Program& program = *model.program();
  std::string name = export_name;
  for (uint32_t i = size(program.exports()); i-- > 0 && export_name.empty();)   // in the end the first
    if (program.exports()->Get(i)->steps() > 0) name = text(program.exports()->Get(i)->name());
  constexpr const char* usage = "text comes from an export that takes a token and gives the logits of the next: `export next(token: token[n]) for 64 steps = ...`";
  if (name.empty()) return Error{GRADC_INVALID, fmt::format("this program writes no text: {}", usage)};
  auto predictor = Predictor::create(model, name);
  if (!predictor) return std::move(predictor.error());
  if (predictor->steps() == 0) return Error{GRADC_INVALID, fmt::format("'{}' keeps nothing from token to token: {}", name, usage)};
  for (uint32_t i = size(program.data()); i-- > 0;)
    if (auto known = model.vocabularies.find(text(program.data()->Get(i)->name())); known != model.vocabularies.end()) writer.vocabulary_ = &known->second;
  if (!writer.vocabulary_) return Error{GRADC_INVALID, "there is no vocabulary: the program is not trained on a text"};
  writer.name_ = name;
  writer.steps_ = predictor->steps();
  writer.entry_ = predictor->smallest();
  const std::vector<FieldType>&inputs = predictor->inputs(), &outputs = predictor->outputs();
  bool fits = inputs.size() == 1 && inputs[0].type.element == ElementType::i32 && inputs[0].type.elements() == 1 && outputs.size() == 1 &&
              outputs[0].type.element == ElementType::f32 && outputs[0].type.elements() >= writer.vocabulary_->size();
  if (!fits) return Error{GRADC_INVALID, fmt::format("'{}' does not write: {}; the vocabulary has {} tokens", name, usage, writer.vocabulary_->size())};
  writer.logits_ = &writer.entry_->outputs[0];
  return writer;
}

void Writer::read(int32_t token) {
  model_->scalars.row = 0;
  model_->scalars.valid = 1;
  store(entry_->inputs[0].data, token);
  model_->run(*entry_);
  ++model_->scalars.position;
  tokens_.push_back(token);
}

Status Writer::begin(const std::string& prompt) {
  auto tokens = vocabulary_->encode(prompt, "the prompt");
  if (!tokens) return std::move(tokens.error());
  if (tokens->empty()) return Error{GRADC_INVALID, "the prompt is empty: there is nothing to go on from"};
  if (int64_t(tokens->size()) > steps_) return Error{GRADC_RANGE, fmt::format("the prompt has {} tokens, '{}' looks back at most {}", tokens->size(), name_, steps_)};
  prompt_tokens_ = int64_t(tokens->size());
  model_->reset_sessions();
  tokens_.clear();
  chosen_.reset();
  for (int32_t token : *tokens) read(token);
  return {};
}

int64_t Writer::next(const Sampling& sampling, Generator& generator) {
  if (chosen_ && int64_t(tokens_.size()) == steps_) {
    std::vector<int32_t> kept(tokens_.end() - steps_ / 2, tokens_.end());
    model_->reset_sessions();
    tokens_.clear();
    for (int32_t token : kept) read(token);
  }
  if (chosen_) read(*chosen_);
  chosen_ = int32_t(choose_token(reinterpret_cast<const float*>(logits_->data), vocabulary_->size(), sampling, generator));
  return *chosen_;
}

}  // namespace gradc::runtime
