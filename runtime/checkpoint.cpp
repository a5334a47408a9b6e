// Saving and loading checkpoints.
#include "runtime/checkpoint.h"

#include <algorithm>
#include <cstddef>
#include <fmt/format.h>

#include "runtime/checkpoint_generated.h"
#include "runtime/data.h"
#include "runtime/file.h"
#include "runtime/weights.h"

namespace gradc::runtime {

namespace {
struct Header {
  char magic[8];
  uint64_t version;
  uint64_t meta_size, meta_checksum;
  uint64_t data_size, data_checksum;
  uint64_t zero;
  uint64_t header_checksum;   // of all that stands before it
};
static_assert(sizeof(Header) == 64);
constexpr char magic[8] = {'G', 'R', 'A', 'D', 'C', 'K', 'P', 'T'};
constexpr uint64_t version = 1;
constexpr char zeros[64] = {};
uint64_t padding(uint64_t size) { return (64 - size % 64) % 64; }
uint64_t checksum_of(const Header& header) { return checksum(&header, offsetof(Header, header_checksum)); }
}  // namespace

std::vector<const Variable*> saved_variables(Model& model, const std::vector<const program::Optimizer*>& chosen) {
  std::vector<std::string> written;
  for (const program::Optimizer* optimizer : chosen)
    for (auto* name : {optimizer->step(), optimizer->apply(), optimizer->init()})
      if (Entry* entry = model.entry(name); entry && entry->source->writes())
        for (auto* variable : *entry->source->writes()) written.push_back(variable->str());
  std::vector<const Variable*> saved;
  for (const Variable& variable : model.variables) {
    bool needed = variable.kind == program::VariableKind::slot && std::find(written.begin(), written.end(), variable.name) != written.end();
    if (variable.belongs_to_model() || needed) saved.push_back(&variable);
  }
  return saved;
}

std::vector<char> copy_weights(Model& model) {
  std::vector<char> weights;
  for (const Variable& variable : model.variables)
    if (variable.belongs_to_model()) {
      weights.resize(weights.size() + variable.bytes);
      variable.read(weights.data() + weights.size() - variable.bytes);
    }
  return weights;
}

void restore_weights(Model& model, const std::vector<char>& weights) {
  size_t at = 0;
  for (Variable& variable : model.variables) {
    if (!variable.belongs_to_model()) continue;
    variable.write(weights.data() + at);
    at += variable.bytes;
  }
}

Status save_checkpoint(const std::string& path, Model& model, const TrainState& state, const std::vector<const program::Optimizer*>& chosen) {
  checkpoint::CheckpointT out;
  out.program = model.name();
  out.source = text(model.program()->source());
  std::vector<std::string_view> data;
  std::vector<std::unique_ptr<char[]>> copies;
  uint64_t offset = 0;
  auto add = [&](std::vector<std::unique_ptr<checkpoint::TensorT>>& to, const Variable& variable, const char* bytes) {
    auto tensor = std::make_unique<checkpoint::TensorT>();
    tensor->name = variable.name;
    tensor->element = uint8_t(variable.type.element);
    tensor->shape = variable.type.shape;
    tensor->kind = uint8_t(variable.kind);
    tensor->offset = offset;
    to.push_back(std::move(tensor));
    data.push_back({bytes, variable.bytes});
    data.push_back({zeros, padding(variable.bytes)});
    offset += variable.bytes + padding(variable.bytes);
  };
  for (const Variable* variable : saved_variables(model, chosen)) add(out.tensors, *variable, variable->elements(copies).data());
  if (!state.best.empty()) {
    const char* at = state.best.data();
    for (const Variable& variable : model.variables)
      if (variable.belongs_to_model()) add(out.best, variable, at), at += variable.bytes;
  }
  for (const Hyper& hyper : model.hypers) {
    auto setting = std::make_unique<checkpoint::SettingT>();
    setting->name = hyper.name;
    setting->owner = hyper.owner ? text(hyper.owner->step()) : "";
    setting->value = hyper.value;
    out.settings.push_back(std::move(setting));
  }
  for (const TrainState::Step& step : state.steps) {
    auto saved = std::make_unique<checkpoint::StepT>();
    saved->name = step.name;
    saved->optimizer = step.optimizer;
    saved->executions = step.executions;
    saved->updates = step.updates;
    saved->loss_sum = step.loss_sum;
    out.steps.push_back(std::move(saved));
  }
  for (const auto& [data, vocabulary] : model.vocabularies) {
    auto saved = std::make_unique<checkpoint::VocabularyT>();
    saved->data = data;
    saved->kind = uint8_t(vocabulary.kind());
    for (uint32_t code : vocabulary.characters()) saved->characters += character_text(code);
    for (auto [first, second] : vocabulary.pairs()) saved->pairs.insert(saved->pairs.end(), {first, second});
    out.vocabularies.push_back(std::move(saved));
  }
  out.seed = model.scalars.seed;
  out.stage = state.stage;
  out.epoch = state.epoch;
  out.cycle = state.cycle;
  out.cycles = state.cycles;
  out.epochs = state.epochs;
  out.step_limit = state.step_limit;
  out.shuffle = state.shuffle;
  out.val_loss = state.val_loss;
  out.best_loss = state.best_loss;
  out.epochs_without_better = state.epochs_without_better;
  out.loss_count = state.loss_count;

  flatbuffers::FlatBufferBuilder builder;
  checkpoint::FinishCheckpointBuffer(builder, checkpoint::Checkpoint::Pack(builder, &out));
  Header header{};
  std::memcpy(header.magic, magic, sizeof magic);
  header.version = version;
  header.meta_size = builder.GetSize();
  header.meta_checksum = checksum(builder.GetBufferPointer(), builder.GetSize());
  header.data_size = offset;
  header.data_checksum = 0;
  for (std::string_view piece : data) header.data_checksum = header.data_checksum * 31 + checksum(piece.data(), piece.size());
  header.header_checksum = checksum_of(header);

  std::vector<std::string_view> pieces = {{reinterpret_cast<const char*>(&header), sizeof header},
                                          {reinterpret_cast<const char*>(builder.GetBufferPointer()), builder.GetSize()},
                                          {zeros, padding(builder.GetSize())}};
  pieces.insert(pieces.end(), data.begin(), data.end());
  return write_whole(path, pieces);
}

namespace {
using Tensors = flatbuffers::Vector<flatbuffers::Offset<checkpoint::Tensor>>;
struct Copy {
  Variable* to;
  const uint8_t* from;
};
}  // namespace

static Type type_of(const checkpoint::Tensor& tensor) {
  Type type;
  type.element = ElementType(tensor.element());
  if (tensor.shape()) type.shape.assign(tensor.shape()->begin(), tensor.shape()->end());
  return type;
}

// Pairs tensors with variables by name, and says what does not agree. Optimizer slots that are only in the file are passed over.
static Status match(Model& model, const Tensors* tensors, const uint8_t* data, uint64_t data_size, bool slots, const std::string& path, std::vector<Copy>& copies) {
  std::vector<std::string> differences;
  std::vector<const Variable*> seen;
  for (uint32_t i = 0; i < size(tensors); ++i) {
    const checkpoint::Tensor& tensor = *tensors->Get(i);
    bool slot = tensor.kind() == uint8_t(program::VariableKind::slot);
    if (slot && !slots) continue;
    Variable* variable = model.variable(text(tensor.name()));
    Type type = type_of(tensor);
    if (!variable) {
      if (!slot) differences.push_back(fmt::format("'{}' ({}) is in the checkpoint only", text(tensor.name()), to_string(type)));
    } else if (!(variable->type == type)) {
      differences.push_back(fmt::format("'{}' is {} in the checkpoint, {} in this program", variable->name, to_string(type), to_string(variable->type)));
    } else if (tensor.offset() > data_size || variable->bytes > data_size - tensor.offset()) {
      return Error{GRADC_CORRUPT, fmt::format("checkpoint '{}' is corrupt: '{}' lies outside the file", path, variable->name)};
    } else {
      copies.push_back({variable, data + tensor.offset()});
    }
    if (variable) seen.push_back(variable);
  }
  for (const Variable& variable : model.variables)
    if (variable.belongs_to_model() && std::find(seen.begin(), seen.end(), &variable) == seen.end())
      differences.push_back(fmt::format("'{}' ({}) is in this program only", variable.name, to_string(variable.type)));
  if (differences.empty()) return {};
  size_t shown = std::min<size_t>(differences.size(), 4);
  return Error{GRADC_OTHER_MODEL, fmt::format("'{}' is the checkpoint of another model: {}{}", path,
                                              fmt::join(differences.begin(), differences.begin() + std::ptrdiff_t(shown), "; "),
                                              differences.size() > shown ? fmt::format("; and {} more", differences.size() - shown) : "")};
}

// A file whose checksums agree.
struct Opened {
  const checkpoint::Checkpoint* in;
  const uint8_t* data;
  uint64_t data_size;
};

static Result<Opened> open_checkpoint(const std::string& path, const Bytes& file) {
  auto corrupt = [&](std::string_view why) { return Error{GRADC_CORRUPT, fmt::format("checkpoint '{}' is {}", path, why)}; };
  Header header;
  if (file.size() >= 8 && std::memcmp(file.data(), magic, sizeof magic) != 0) return corrupt("no checkpoint: it does not begin with GRADCKPT");
  if (file.size() < sizeof header) return corrupt("truncated: it ends inside its header");
  std::memcpy(&header, file.data(), sizeof header);
  if (header.version != version) return corrupt(fmt::format("of version {}; this program reads version {}", header.version, version));
  uint64_t rest = file.size() - sizeof header;
  if (header.meta_size > rest || padding(header.meta_size) > rest - header.meta_size || header.data_size > rest - header.meta_size - padding(header.meta_size))
    return corrupt(fmt::format("truncated: {} bytes are there, {} are announced", file.size(), sizeof header + header.meta_size + padding(header.meta_size) + header.data_size));
  if (header.header_checksum != checksum_of(header)) return corrupt("corrupt: its header's checksum does not agree");
  if (rest != header.meta_size + padding(header.meta_size) + header.data_size) return corrupt("corrupt: something follows after its end");
  const uint8_t* meta = file.data() + sizeof header;
  const uint8_t* data = meta + header.meta_size + padding(header.meta_size);
  flatbuffers::Verifier verifier(meta, header.meta_size, 64, 10'000'000);
  bool sound = checksum(meta, header.meta_size) == header.meta_checksum && std::memcmp(meta + header.meta_size, zeros, padding(header.meta_size)) == 0;
  if (!sound || !checkpoint::VerifyCheckpointBuffer(verifier)) return corrupt("corrupt: its checksum does not agree");
  const checkpoint::Checkpoint& in = *checkpoint::GetCheckpoint(meta);

  // The data's checksum is over the pieces as they were written: tensor, padding, tensor, padding, ...
  uint64_t sum = 0;
  for (const Tensors* tensors : {in.tensors(), in.best()})
    for (uint32_t i = 0; i < size(tensors); ++i) {
      const checkpoint::Tensor& tensor = *tensors->Get(i);
      if (tensor.element() >= std::size(element_infos)) return corrupt("corrupt: unknown element type");
      uint64_t bytes = type_of(tensor).bytes(), end = bytes + padding(bytes);
      if (tensor.offset() > header.data_size || end > header.data_size - tensor.offset()) return corrupt("corrupt: a tensor outside the file");
      sum = sum * 31 + checksum(data + tensor.offset(), bytes);
      sum = sum * 31 + checksum(data + tensor.offset() + bytes, padding(bytes));
    }
  if (sum != header.data_checksum) return corrupt("corrupt: its checksum does not agree");
  return Opened{&in, data, header.data_size};
}

Result<StoredWeights> read_checkpoint_weights(const std::string& path, Bytes file) {
  auto opened = open_checkpoint(path, file);
  if (!opened) return std::move(opened.error());
  StoredWeights weights{std::move(file), {}};
  const Tensors* tensors = size(opened->in->best()) > 0 ? opened->in->best() : opened->in->tensors();
  for (uint32_t i = 0; i < size(tensors); ++i) {
    const checkpoint::Tensor& tensor = *tensors->Get(i);
    if (tensor.kind() != uint8_t(program::VariableKind::slot)) weights.tensors.push_back({text(tensor.name()), type_of(tensor), opened->data + tensor.offset(), ""});
  }
  return weights;
}

static Result<Vocabularies> vocabularies_of(const checkpoint::Checkpoint& in, const program::Program& program, const std::string& path) {
  Vocabularies vocabularies;
  for (uint32_t i = 0; i < size(in.vocabularies()); ++i) {
    const checkpoint::Vocabulary& saved = *in.vocabularies()->Get(i);
    std::vector<uint32_t> characters;
    std::string letters = text(saved.characters());
    for (std::string_view rest = letters; !rest.empty();) {
      int64_t code = take_character(rest);
      if (code < 0) return Error{GRADC_CORRUPT, fmt::format("checkpoint '{}' is corrupt: its characters are no UTF-8", path)};
      characters.push_back(uint32_t(code));
    }
    std::vector<std::pair<uint32_t, uint32_t>> pairs;
    for (uint32_t p = 0; p + 1 < size(saved.pairs()); p += 2) pairs.push_back({saved.pairs()->Get(p), saved.pairs()->Get(p + 1)});
    auto vocabulary = Vocabulary::create(Vocabulary::Kind(saved.kind()), std::move(characters), std::move(pairs));
    if (!vocabulary) return Error{GRADC_CORRUPT, fmt::format("checkpoint '{}' is corrupt: {}", path, vocabulary.error().message)};
    const program::DataSet* data = find_data(program, text(saved.data()));
    if (!data || !data->tokens() || data->tokens()->kind() != vocabulary->kind() || vocabulary->size() > data->tokens()->size())
      return Error{GRADC_OTHER_MODEL, fmt::format("'{}' is the checkpoint of another model: its vocabulary of {} tokens for '{}' is none of this program", path, vocabulary->size(), text(saved.data()))};
    vocabularies.emplace(text(saved.data()), std::move(*vocabulary));
  }
  return vocabularies;
}

Result<TrainState> load_checkpoint(const std::string& path, Model& model, Purpose purpose) {
  auto file = Bytes::map(path);
  if (!file) return file.error();
  auto opened = open_checkpoint(path, *file);
  if (!opened) return std::move(opened.error());
  const checkpoint::Checkpoint& in = *opened->in;
  const uint8_t* data = opened->data;

  bool use_best = purpose == Purpose::inference && size(in.best()) > 0;
  std::vector<Copy> copies, best;
  GRADC_TRY(match(model, use_best ? in.best() : in.tensors(), data, opened->data_size, purpose == Purpose::resume, path, copies));
  if (purpose == Purpose::resume && size(in.best()) > 0) GRADC_TRY(match(model, in.best(), data, opened->data_size, false, path, best));

  auto vocabularies = vocabularies_of(in, *model.program(), path);
  if (!vocabularies) return std::move(vocabularies.error());
  model.vocabularies = std::move(*vocabularies);

  TrainState state;
  model.scalars.seed = in.seed();
  for (uint32_t i = 0; i < size(in.settings()); ++i)
    for (Hyper& hyper : model.hypers)
      if (hyper.name == text(in.settings()->Get(i)->name()) && (hyper.owner ? text(hyper.owner->step()) : "") == text(in.settings()->Get(i)->owner()))
        hyper.value = in.settings()->Get(i)->value();
  for (uint32_t i = 0; i < size(in.steps()); ++i) {
    auto* step = in.steps()->Get(i);
    state.steps.push_back({text(step->name()), text(step->optimizer()), step->executions(), step->updates(), step->loss_sum()});
  }
  for (const Copy& copy : copies) copy.to->write(copy.from);
  // `best` is kept in the order of the variables, whatever the order in the file.
  for (const Variable& variable : model.variables)
    for (const Copy& copy : best)
      if (copy.to == &variable) state.best.insert(state.best.end(), copy.from, copy.from + variable.bytes);
  state.stage = in.stage();
  state.epoch = in.epoch();
  state.cycle = in.cycle();
  state.cycles = in.cycles();
  state.epochs = in.epochs();
  state.step_limit = in.step_limit();
  state.shuffle = in.shuffle();
  state.val_loss = in.val_loss();
  state.best_loss = in.best_loss();
  state.epochs_without_better = in.epochs_without_better();
  state.loss_count = in.loss_count();
  model.scalars.val_loss = state.val_loss;
  model.scalars.epoch = static_cast<double>(state.epoch);   // figures may depend on it: `eval` shows those of the end of training
  model.reset_sessions();   // they are of other weights
  return state;
}

}  // namespace gradc::runtime
