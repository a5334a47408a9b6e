// The commands of a compiled program. command_line.cpp reads the arguments; each command prints to stdout and gives an error back or nothing.
#pragma once
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "runtime/model.h"
#include "runtime/predict.h"
#include "runtime/trainer.h"

namespace gradc::runtime {

struct CommandOptions {
  // all commands
  int threads = 0;
  std::optional<int64_t> seed;
  std::vector<std::string> data;       // DIR, or NAME=DIR
  std::string checkpoint;              // "": the default, NAME.ckpt in the current folder
  bool json = false, profile = false, confusion = false, untrained = false;
  std::vector<std::string> set;        // name=value
  // train
  std::optional<int64_t> epochs, steps, watch;
  std::vector<std::string> optimizer;  // NAME, or STEP=NAME
  std::vector<std::string> lr;         // number, or STEP=number
  std::string resume, init, log;
  bool no_shuffle = false, no_save = false, quiet = false;
  int64_t checkpoint_every = 0;
  // eval, predict, bench, weights
  std::string split, export_name, out, format = "text";
  std::vector<std::string> inputs;     // FILE in the order of the inputs, or NAME=FILE
  std::string parameter;               // of filters
  std::string index;                   // I or FIRST:LAST
  int64_t count = 64;                  // of samples that `sample` makes
  double seconds = 1;
  std::string prompt = "\n";           // of generate, as what follows
  int64_t length = 200, top_k = 0;
  double temperature = 1;
  bool statistics = false;             // info: of the training data, too
  std::string only;                    // what bench times: train, predict, or both
};

using Command = Status (*)(Model&, const CommandOptions&);
Status command_train(Model&, const CommandOptions&);
Status command_eval(Model&, const CommandOptions&);
Status command_predict(Model&, const CommandOptions&);
Status command_sample(Model&, const CommandOptions&);
Status command_info(Model&, const CommandOptions&);
Status command_bench(Model&, const CommandOptions&);
Status command_weights(Model&, const CommandOptions&);
Status command_filters(Model&, const CommandOptions&);
Status command_generate(Model&, const CommandOptions&);
Status command_plot(const CommandOptions&);   // needs no model

/// Logs of train to an SVG picture; out "": named after the first.
Status plot(const std::vector<std::string>& logs, const std::string& out);

// ---- shared by commands

std::string default_checkpoint(const Model& model);
/// Loads what eval, predict and weights work on: --checkpoint, else the default; with --untrained, or where there is nothing to train, the first values.
Status load_trained(Model& model, const CommandOptions& options);
std::map<std::string, std::string> data_directories(const CommandOptions& options);
Result<std::vector<std::pair<std::string, double>>> parse_settings(const std::vector<std::string>& set);
Result<std::vector<std::pair<std::string, double>>> parse_rates(const std::vector<std::string>& rates);   // "" for all steps
/// "data.split" to samples; a split's name alone is enough where it is the only one.
Result<Samples> read_named_split(Model& model, const std::string& name, const CommandOptions& options);
/// "fashion.test" to its two names.
std::pair<std::string, std::string> split_name(const Model& model, const std::string& name);

/// Runs the export on the samples' rows and shows its results as the options say.
Status show_results(Model& model, Predictor& predictor, const Samples& samples, const CommandOptions& options);

/// The profile as a table, or as a JSON array.
std::string profile_text(const Model& model);
std::string profile_json(const Model& model);

}  // namespace gradc::runtime
