// CIFAR-10's binary files and folders of pictures. Both fill a picture's field and, for a folder if it is declared, a label's.
#include <algorithm>
#include <atomic>
#include <filesystem>
#include <fmt/format.h>
#include <mutex>
#include <sys/stat.h>
#include <thread>

#include "runtime/data.h"
#include "runtime/machine.h"
#include "runtime/decode.h"
#include "runtime/raw_copy.h"

namespace gradc::runtime {

namespace {
// Which field holds the picture, and which the label (-1: none).
struct PictureFields {
  int picture = -1, label = -1;
  int64_t height = 0, width = 0, channels = 1;
};
struct PictureFile {
  std::string path;
  int64_t label = 0;
};
}  // namespace

static Result<PictureFields> find_fields(const std::vector<FieldType>& fields, std::string_view source) {
  PictureFields found;
  for (size_t i = 0; i < fields.size(); ++i) {
    const Type& type = fields[i].type;
    bool picture = type.element == ElementType::u8 && (type.shape.size() == 2 || (type.shape.size() == 3 && (type.shape[2] == 1 || type.shape[2] == 3)));
    bool label = type.shape.empty() && !info(type.element).is_float && type.element != ElementType::boolean;
    if (picture && found.picture < 0) found.picture = int(i);
    else if (label && found.label < 0) found.label = int(i);
    else
      return Error{GRADC_INVALID, fmt::format("{} fills a picture u8[height, width], u8[height, width, 1] or u8[height, width, 3], and an integer label; '{}' is {}", source,
                                              fields[i].name, to_string(type))};
  }
  if (found.picture < 0) return Error{GRADC_INVALID, fmt::format("{} needs a field for the picture, such as image: u8[32, 32, 3]", source)};
  const std::vector<int64_t>& shape = fields[size_t(found.picture)].type.shape;
  found.height = shape[0], found.width = shape[1];
  if (shape.size() == 3) found.channels = shape[2];
  return found;
}

static Bytes new_bytes(size_t size, uint8_t*& data) {
  std::unique_ptr<uint8_t[]> buffer(new uint8_t[size + 1]);
  data = buffer.get();
  return Bytes::own(std::move(buffer), size);
}

// A record is a label and three planes of 32 x 32; the planes are transposed, since everything else here has its channels last.
Result<Contents> read_cifar10(const std::vector<std::string>& paths, const std::vector<FieldType>& fields) {
  constexpr size_t pixels = 32 * 32, record = 1 + 3 * pixels;
  constexpr int64_t classes = 10;
  auto found = find_fields(fields, "cifar10");
  if (!found) return found.error();
  if (found->label < 0 || found->height != 32 || found->width != 32 || found->channels != 3)
    return Error{GRADC_INVALID, "cifar10 fills a picture u8[32, 32, 3] and an integer label"};
  std::vector<Bytes> files;
  Contents contents;
  size_t samples = 0;
  for (const std::string& path : paths) {
    auto content = read_data_file(path);
    if (!content) return content.error();
    if (content->size() == 0 || content->size() % record != 0)
      return Error{GRADC_CORRUPT, fmt::format("'{}' has {} bytes, which are no whole records of {}: a label and 3 x 32 x 32 of a picture", path, content->size(), record)};
    samples += content->size() / record;
    contents.file_bytes += content->size();
    files.push_back(*content);
  }
  const FieldType& label = fields[size_t(found->label)];
  FieldType legal{label.name, {ElementType::u8, {}}, true, label.has_range ? label.low : 0, label.has_range ? std::min<double>(label.high, classes) : classes};
  uint8_t *picture_at, *label_at;
  Bytes pictures = new_bytes(samples * 3 * pixels, picture_at), labels = new_bytes(samples * label.type.bytes(), label_at);
  for (size_t f = 0; f < files.size(); ++f)
    for (size_t r = 0; r < files[f].size() / record; ++r) {
      const uint8_t* from = files[f].data() + r * record;
      GRADC_TRY(check_range(legal, from, 1, fmt::format("'{}'", paths[f]), int64_t(r)));
      write_number(label.type.element, label_at, from[0]);
      label_at += label.type.bytes();
      for (size_t p = 0; p < pixels; ++p)
        for (size_t c = 0; c < 3; ++c) *picture_at++ = from[1 + c * pixels + p];
    }
  contents.columns.resize(2);
  contents.columns[size_t(found->picture)] = {fields[size_t(found->picture)], pictures, int64_t(samples)};
  contents.columns[size_t(found->label)] = {label, labels, int64_t(samples)};
  return contents;
}

// Names in a folder, sorted; without hidden ones.
static Result<std::vector<std::string>> names_in(const std::string& folder, bool folders) {
  std::vector<std::string> names;
  std::error_code error;
  std::filesystem::directory_iterator at(folder, error), end;
  if (error) return Error{GRADC_FILE, fmt::format("cannot read the folder '{}': {}", folder, error.message())};
  for (; at != end; at.increment(error)) {
    std::string name = at->path().filename().string();
    std::error_code ignored;
    if (!name.starts_with('.') && at->is_directory(ignored) == folders) names.push_back(name);
    if (error) break;
  }
  std::sort(names.begin(), names.end());
  return names;
}

// With a label: the pictures in the folder of each class. Without: those in the folder itself, which may be a single file instead.
static Result<std::vector<PictureFile>> list_pictures(const std::string& folder, bool labelled, std::vector<std::string>& classes) {
  std::vector<PictureFile> files;
  std::vector<std::string> folders = {folder};
  if (labelled) {
    auto names = names_in(folder, true);
    if (!names) return names.error();
    if (names->empty()) return Error{GRADC_INVALID, fmt::format("the folder '{}' has no folders in it: there is one for each class, with its pictures", folder)};
    if (classes.empty()) classes = *names;
    for (const std::string& name : *names)
      if (std::find(classes.begin(), classes.end(), name) == classes.end())
        return Error{GRADC_UNKNOWN_NAME, fmt::format("'{}/{}' is a folder of no class that the model file names{}", folder, name, suggestion(name, classes))};
    folders.clear();
    for (const std::string& name : classes) folders.push_back(folder + "/" + name);
  }
  if (std::error_code ignored; !labelled && !std::filesystem::is_directory(folder, ignored)) return std::vector<PictureFile>{{folder, 0}};
  for (size_t label = 0; label < folders.size(); ++label) {
    auto names = names_in(folders[label], false);
    if (!names) return names.error();
    if (names->empty()) return Error{GRADC_INVALID, fmt::format("the folder '{}' is empty: it holds no pictures", folders[label])};
    for (const std::string& name : *names) files.push_back({folders[label] + "/" + name, int64_t(label)});
  }
  return files;
}

static Status decode(const std::string& path, const FieldType& field, const PictureFields& wanted, const PictureOptions& options, uint8_t* to) {
  auto content = Bytes::map(path);
  if (!content) return content.error();
  if (is_cut_off(*content)) return Error{GRADC_CORRUPT, fmt::format("'{}' is truncated: the picture ends too early", path)};
  Decoded picture = decode_picture(*content, options.convert ? int(wanted.channels) : 0);
  if (!picture.pixels) return Error{GRADC_CORRUPT, fmt::format("'{}' is no PNG or JPEG picture that can be read: {}", path, picture.error)};
  if (picture.channels != wanted.channels)
    return Error{GRADC_INVALID, fmt::format("'{}' has {} channel{}, but the model file declares {}: {} with {} (`convert = true` converts)", path, picture.channels,
                                            picture.channels == 1 ? "" : "s", field.name, to_string(field.type), wanted.channels)};
  if (!options.fit.empty()) {
    scale_picture(picture, options.fit == "crop", int(wanted.height), int(wanted.width), to);
    return {};
  }
  if (picture.height != wanted.height || picture.width != wanted.width)
    return Error{GRADC_INVALID, fmt::format("'{}' has {} rows and {} columns, but the model file declares {}: {} with {} and {} (`fit = \"stretch\"` or `\"crop\"` scales)", path,
                                            picture.height, picture.width, field.name, to_string(field.type), wanted.height, wanted.width)};
  std::memcpy(to, picture.pixels.get(), field.type.bytes());
  return {};
}

// Decodes all files on all cores. Of several errors that of the first file is told, whoever was faster.
static Result<Bytes> decode_all(const std::vector<PictureFile>& files, const FieldType& field, const PictureFields& wanted, const PictureOptions& options) {
  uint8_t* pixels;
  Bytes all = new_bytes(files.size() * field.type.bytes(), pixels);
  std::atomic<size_t> next{0};
  std::mutex lock;
  size_t failed = files.size();
  Error first;
  auto work = [&] {
    for (size_t i; (i = next++) < files.size();) {
      Status status = decode(files[i].path, field, wanted, options, pixels + i * field.type.bytes());
      if (status) continue;
      std::lock_guard<std::mutex> hold(lock);
      if (i < failed) failed = i, first = std::move(status.error());
      next = files.size();   // files before i have all been taken
    }
  };
  std::vector<std::thread> others;
  for (int t = 1; t < usable_cores() && size_t(t) * 16 < files.size(); ++t) others.emplace_back(work);
  work();
  for (std::thread& thread : others) thread.join();
  if (failed < files.size()) return first;
  return all;
}

Result<Contents> read_images(const std::string& folder, const std::vector<FieldType>& fields, const PictureOptions& options, std::vector<std::string> classes) {
  auto wanted = find_fields(fields, "images");
  if (!wanted) return wanted.error();
  Contents contents;
  contents.classes = std::move(classes);
  auto files = list_pictures(folder, wanted->label >= 0, contents.classes);
  if (!files) return files.error();
  int64_t samples = int64_t(files->size());
  contents.columns.resize(fields.size());
  if (wanted->label >= 0) {
    const FieldType& label = fields[size_t(wanted->label)];
    double most = label.has_range ? label.high : 1e18, least = label.has_range ? label.low : 0;
    if (label.type.element == ElementType::u8) most = std::min(most, 256.0);
    if (double(contents.classes.size()) > most || least > 0)
      return Error{GRADC_RANGE, fmt::format("the folder '{}' has {} classes, labels 0 to {}, but the model file declares {}: {} with {} <= {} < {}", folder, contents.classes.size(),
                                            contents.classes.size() - 1, label.name, to_string(label.type), least, label.name, most)};
    uint8_t* at;
    Bytes labels = new_bytes(size_t(samples) * label.type.bytes(), at);
    for (int64_t i = 0; i < samples; ++i) write_number(label.type.element, at + size_t(i) * label.type.bytes(), double((*files)[size_t(i)].label));
    contents.columns[size_t(wanted->label)] = {label, labels, samples};
  }
  std::string state_text;
  for (const PictureFile& file : *files) {
    struct stat state;
    if (stat(file.path.c_str(), &state) != 0) continue;   // decoding says so
    contents.file_bytes += size_t(state.st_size);
    state_text += fmt::format("{} {} {}.{}\n", file.path, state.st_size, state.st_mtim.tv_sec, state.st_mtim.tv_nsec);
  }
  const FieldType& picture = fields[size_t(wanted->picture)];
  std::string variant = fmt::format("#{} {} {}", to_string(picture.type), options.fit, options.convert);
  auto pixels = kept_copy(folder, variant, {files->size(), checksum(state_text.data(), state_text.size())}, [&] { return decode_all(*files, picture, *wanted, options); });
  if (!pixels) return pixels.error();
  if (pixels->size() != files->size() * picture.type.bytes()) return Error{GRADC_CORRUPT, fmt::format("the kept copy of '{}' has another size", folder)};
  contents.columns[size_t(wanted->picture)] = {picture, *pixels, samples};
  return contents;
}

}  // namespace gradc::runtime
