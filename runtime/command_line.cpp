// gradc_main: the command line of a compiled program, also used by `gradc run`. CLI11 throws; nothing of that leaves this file.
#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "runtime/command.h"
#include "runtime/machine.h"

namespace gradc::runtime {

namespace {
struct CommandRow {
  const char* name;
  const char* help;
  Command run;
  Status (*alone)(const CommandOptions&) = nullptr;   // a command that needs no model
};
constexpr CommandRow commands[] = {
    {"train", "Trains, and saves a checkpoint (NAME.ckpt here, unless told otherwise)", command_train},
    {"eval", "Loss and reports of the trained model over the validation data", command_eval},
    {"predict", "Runs an export on files, or on samples of the data", command_predict},
    {"sample", "Runs an export on noise: what a generator makes, as a picture of many", command_sample},
    {"generate", "Writes text, token by token", command_generate},
    {"info", "Parameters, shapes, memory, kernels, settings", command_info},
    {"bench", "Times training steps and prediction at batch 1", command_bench},
    {"weights", "Writes the weights as a safetensors file", command_weights},
    {"filters", "Writes weights as pictures: the filters of a convolution, or of a first dense layer", command_filters},
    {"plot", "Draws what 'train --log' has written, several runs in one picture, as SVG", nullptr, command_plot},
};
}  // namespace

static void add_options(CLI::App& app, std::string_view command, CommandOptions& o) {
  bool train = command == "train", eval = command == "eval", predict = command == "predict", bench = command == "bench", weights = command == "weights", plot = command == "plot", filters = command == "filters", sample = command == "sample", generate = command == "generate";
  if (plot) {
    app.add_option("logs", o.inputs, "Files that 'train --log' has written")->required();
    app.add_option("-o,--out", o.out, "The picture (default: the first log's name, .svg)");
    return;
  }
  app.add_option("--threads", o.threads, "Threads, at most one a core (default: as many as pay)")->check(CLI::Range(1, 1024));
  app.add_option("--seed", o.seed, generate ? "Seed of the choice among tokens (default: 0)" : "Seed of first values, shuffling and noise (default: the model file's)");
  app.add_flag("--json", o.json, "Print JSON");
  if (train || eval || predict || bench || generate || command == "info") app.add_option("--data", o.data, "Folder of the data; NAME=DIR for one data set alone");
  if (train || eval || predict || weights || filters || sample || generate)
    app.add_option("--checkpoint", o.checkpoint, train ? "Where to save (default: NAME.ckpt in the current folder, or what is resumed)" : "Trained model (default: NAME.ckpt in the current folder)");
  if (eval || predict || weights || filters || sample || generate) app.add_flag("--untrained", o.untrained, "Use the first values instead of a checkpoint");
  if (train || eval) app.add_option("--set", o.set, "Hyperparameter or config value: name=number");
  if (train || eval) app.add_flag("--profile", o.profile, "Print kernels with time, GFLOP/s, share and source lines");
  if (train || bench) app.add_option("--optimizer", o.optimizer, "Optimizer, of those that were compiled in (see info); STEP=NAME for one of several steps");
  if (train) {
    auto* epochs = app.add_option("--epochs", o.epochs, "Epochs")->check(CLI::PositiveNumber);
    app.add_option("--steps", o.steps, "Steps, instead of epochs")->check(CLI::PositiveNumber)->excludes(epochs);
    app.add_option("--lr", o.lr, "Learning rate (of a schedule: its peak); STEP=X for one of several steps");
    app.add_option("--checkpoint-every", o.checkpoint_every, "Save after every so many steps, too")->check(CLI::PositiveNumber);
    auto* resume = app.add_option("--resume", o.resume, "Go on from this checkpoint");
    app.add_option("--init", o.init, "Start from the weights in this file, safetensors or a checkpoint")->excludes(resume);
    app.add_flag("--no-shuffle", o.no_shuffle, "Keep the order of the data");
    app.add_flag("--no-save", o.no_save, "Save no checkpoint");
    app.add_option("--log", o.log, "Write a JSON line for every step and epoch to this file");
    app.add_option("--watch", o.watch, "Look at the gradients every so many steps (the model file says `watch gradients`; 0: never)")->check(CLI::NonNegativeNumber);
    app.add_flag("--quiet", o.quiet, "Print no progress");
  }
  if (eval) app.add_flag("--confusion", o.confusion, "Show which classes are taken for which (of a report that is such a table)");
  if (eval) app.add_option("-o,--out", o.out, "Write the confusion matrix to this file, .svg or .csv");
  if (eval || predict) app.add_option("--split", o.split, "Data to use, as data.split");
  if (generate) {
    app.add_option("--prompt", o.prompt, "What the text goes on from (default: the end of a line)");
    app.add_option("--length", o.length, "Tokens to write (default: 200)")->check(CLI::NonNegativeNumber);
    app.add_option("--temperature", o.temperature, "Below 1: likely tokens become likelier; 0: always the likeliest (default: 1)")->check(CLI::NonNegativeNumber);
    app.add_option("--top-k", o.top_k, "Choose among the K likeliest tokens (default: all)")->check(CLI::PositiveNumber);
    app.add_option("--export", o.export_name, "Which export (default: the first for a number of steps)");
  }
  if (predict) {
    app.add_option("inputs", o.inputs, "A file for each input: .npy, .csv, IDX, a picture or a folder of them; NAME=FILE in any order");
    app.add_option("--index", o.index, "Samples of the data instead of files: I or FIRST:LAST (of --split alone: all)");
  }
  if (sample) app.add_option("--count", o.count, "How many (default: 64)")->check(CLI::Range(1, 1000000));
  if (predict || sample) {
    app.add_option("--export", o.export_name, predict ? "Which export (default: the first)" : "Which export (default: the first that reads no field of the data)");
    app.add_option("--format", o.format, "text, json, npy or png")->check(CLI::IsMember({"text", "json", "npy", "png"}));
  }
  if (predict || weights || sample) app.add_option("-o,--out", o.out, weights ? "The safetensors file" : "Write to this file")->required(weights);
  if (filters) {
    app.add_option("--parameter", o.parameter, "Which (default: the first kernel of a convolution, else the first matrix as long as an image)");
    app.add_option("-o,--out", o.out, "The picture (default: filters.png)");
  }
  if (command == "info") app.add_flag("--statistics", o.statistics, "Means and standard deviations of the data, for normalise");
  if (bench) {
    app.add_option("--seconds", o.seconds, "How long to measure")->check(CLI::PositiveNumber);
    app.add_option("--only", o.only, "train or predict")->check(CLI::IsMember({"train", "predict"}));
  }
}

static int fail(const Error& error) {
  fmt::print(stderr, "error: {}\n", error.message);
  return 1;
}

// "did you mean" for the first word that was not expected.
static std::string option_hint(CLI::App& app, const std::vector<std::string>& unexpected) {
  std::vector<std::string> names;
  for (const CLI::Option* option : app.get_options())
    for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
  for (const CLI::App* sub : app.get_subcommands([](CLI::App*) { return true; })) names.push_back(sub->get_name());
  for (const std::string& word : unexpected)
    if (std::string near = nearest(word.substr(0, word.find('=')), names); !near.empty()) return fmt::format(", did you mean '{}'?", near);
  return "";
}

static int run_command_line(const gradc_image* image, int argc, const char* const* argv) {
  std::vector<uint64_t> copy;
  const uint8_t* bytes = image && image->program ? unpack(*image, copy) : nullptr;
  const program::Program* program = bytes ? program::GetProgram(bytes) : nullptr;
  std::string name = program && program->name() ? program->name()->str() : "model";
  CLI::App app(fmt::format("{}: a neural network compiled by gradc", name), name);
  app.require_subcommand(1);
  CommandOptions options[std::size(commands)];
  for (size_t i = 0; i < std::size(commands); ++i) add_options(*app.add_subcommand(commands[i].name, commands[i].help), commands[i].name, options[i]);
  try {
    app.parse(argc, const_cast<char**>(argv));
  } catch (const CLI::ExtrasError&) {
    CLI::App* where = &app;
    if (auto chosen = app.get_subcommands(); !chosen.empty()) where = chosen[0];
    std::vector<std::string> words = where->remaining(true);
    if (words.empty()) words = app.remaining(true);
    fmt::print(stderr, "error: '{}' was not expected{}\n", words.empty() ? "" : words[0], option_hint(*where, words));
    return 2;
  } catch (const CLI::CallForHelp&) {
    auto chosen = app.get_subcommands();
    fmt::print("{}", chosen.empty() ? app.help() : chosen[0]->help());
    return 0;
  } catch (const CLI::ParseError& error) {
    if (argc <= 1) {
      fmt::print(stderr, "{}", app.help());
      return 2;
    }
    if (app.get_subcommands().empty() && argv[1][0] != '-') fmt::print(stderr, "error: '{}' is no command{}\n", argv[1], option_hint(app, {argv[1]}));
    else fmt::print(stderr, "error: {}\n", error.what());
    return 2;
  }
  for (size_t i = 0; i < std::size(commands); ++i) {
    if (!app.got_subcommand(commands[i].name)) continue;
    if (commands[i].alone) {
      if (auto status = commands[i].alone(options[i]); !status) return fail(status.error());
      return 0;
    }
    auto model = Model::create(image, threads_that_pay(options[i].threads), options[i].seed ? &*options[i].seed : nullptr);
    if (!model) return fail(model.error());
    if (auto status = commands[i].run(**model, options[i]); !status) return fail(status.error());
    return 0;
  }
  return 2;
}

}  // namespace gradc::runtime

extern "C" int gradc_main(const gradc_image* image, int argc, const char* const* argv) { return gradc::runtime::run_command_line(image, argc, argv); }
