// Text from an export for a number of steps: it takes the token before and gives the logits of the next one.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "runtime/generator.h"
#include "runtime/predict.h"

namespace gradc::runtime {

struct Sampling {
  double temperature = 1;   // 0: always the most likely token
  int64_t top_k = 0;        // among so many of the most likely; 0: all
};

/// Which token comes next. Equal logits: the lower number first. Tokens from `known` on have no meaning and are never chosen.
int64_t choose_token(const float* logits, int64_t known, const Sampling& sampling, Generator& generator);

class Writer {
 public:
  /// export_name "": the first for a number of steps. The vocabulary is that of the program's text.
  static Result<Writer> create(Model& model, const std::string& export_name);
  const Vocabulary& vocabulary() const { return *vocabulary_; }
  /// Forgets everything, and reads a prompt.
  Status begin(const std::string& prompt);
  /// The next token. Where the steps of a session are used up, a new one begins, which reads the later half of them again.
  int64_t next(const Sampling& sampling, Generator& generator);
  int64_t prompt_tokens() const { return prompt_tokens_; }

 private:
  void read(int32_t token);

  Model* model_ = nullptr;
  const Vocabulary* vocabulary_ = nullptr;
  std::string name_;
  Entry* entry_ = nullptr;
  const Port* logits_ = nullptr;
  int64_t steps_ = 0, prompt_tokens_ = 0;
  std::vector<int32_t> tokens_;     // those that the session has read
  std::optional<int32_t> chosen_;   // the last one, not read yet
};

}  // namespace gradc::runtime
