// generate: text from a prompt, printed while it is made.
#include <chrono>
#include <fmt/format.h>

#include "runtime/command.h"
#include "runtime/generate.h"
#include "runtime/json.h"

namespace gradc::runtime {

// Without a checkpoint the vocabularies are learned from the texts.
static Status learn_vocabularies(Model& model, const CommandOptions& options) {
  const program::Program& program = *model.program();
  for (uint32_t i = 0; i < size(program.data()); ++i) {
    const program::DataSet& data = *program.data()->Get(i);
    if (!data.tokens() || model.vocabularies.contains(text(data.name()))) continue;
    auto samples = read_split(program, text(data.name()), text(data.tokens()->learn()), data_directories(options), &model.vocabularies);
    if (!samples) return std::move(samples.error());
  }
  return {};
}

Status command_generate(Model& model, const CommandOptions& options) {
  GRADC_TRY(load_trained(model, options));
  GRADC_TRY(learn_vocabularies(model, options));
  auto writer = Writer::create(model, options.export_name);
  if (!writer) return std::move(writer.error());
  using Clock = std::chrono::steady_clock;
  auto start = Clock::now();
  GRADC_TRY(writer->begin(options.prompt));
  Generator generator{uint64_t(options.seed.value_or(0))};
  std::string written, waiting;   // waiting: the beginning of a character, perhaps
  auto print = [&](size_t bytes) {
    std::string whole = readable(std::string_view(waiting).substr(0, bytes));
    waiting.erase(0, bytes);
    written += whole;
    if (options.json) return;
    fmt::print("{}", whole);
    std::fflush(stdout);
  };
  if (!options.json) fmt::print("{}", options.prompt == "\n" ? "" : options.prompt);
  for (int64_t i = 0; i < options.length; ++i) {
    waiting += writer->vocabulary().piece(writer->next({options.temperature, options.top_k}, generator));
    print(whole_characters(waiting));
  }
  print(waiting.size());
  double seconds = std::chrono::duration<double>(Clock::now() - start).count();
  if (!options.json) {
    fmt::print("\n");
    return {};
  }
  JsonObject out;
  out.add("prompt", std::string_view(options.prompt)).add("text", std::string_view(written)).add("prompt_tokens", writer->prompt_tokens()).add("tokens", options.length);
  out.add("tokens_per_s", seconds > 0 ? double(writer->prompt_tokens() + options.length) / seconds : 0);
  fmt::print("{}\n", out.text());
  return {};
}

}  // namespace gradc::runtime
