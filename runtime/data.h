// Data: the samples of a split, one column per field, as they lie in the files; gathered into an entry's inputs batch by batch.
#pragma once
#include <map>
#include <string>
#include <vector>

#include "runtime/elements.h"
#include "runtime/error.h"
#include "runtime/file.h"
#include "runtime/vocabulary.h"

namespace gradc::runtime {

/// What one field holds: the type of one sample, and which values are legal.
struct FieldType {
  std::string name;
  Type type;
  bool has_range = false;
  double low = 0, high = 0;   // low <= value < high
};
FieldType to_field(const program::Field*);

/// All samples of one field, in the field's own element type, one after the other.
struct Column {
  FieldType field;
  Bytes bytes;
  int64_t samples = 0;
  std::string file;        // "": none, or several
  int64_t positions = 0;   // of a text, where windows may begin at every token: at how many; samples are those one behind the other
  size_t sample_bytes() const { return field.type.bytes(); }
  const uint8_t* sample(int64_t index) const { return bytes.data() + size_t(index) * sample_bytes(); }
  /// A sample by its place in an order (batch.h): its number, or where its window begins.
  const uint8_t* placed(uint32_t place) const { return positions > 0 ? bytes.data() + place * info(field.type.element).bytes : sample(place); }
};

struct Samples {
  std::string name;   // "fashion.train"
  std::vector<Column> columns;
  int64_t count = 0;
  std::vector<std::string> classes;   // what labels 0, 1, ... are called: as the model file or the folders say; else none
  size_t file_bytes = 0;
  int64_t positions = 0;   // as of the columns: 0, or that of a text
  const Column* column(std::string_view field) const;
};

/// "data.split", of all data.
std::vector<std::string> split_names(const program::Program& program);

/// Reads and checks data.split. directories: from --data, by data set, or "" for all; else the model file's. vocabularies: of texts; what is missing there is
/// learned and added. Null: all is learned, and forgotten.
Result<Samples> read_split(const program::Program& program, std::string_view data, std::string_view split, const std::map<std::string, std::string>& directories,
                           Vocabularies* vocabularies = nullptr);

/// What a file of `path` in `folder` is called: absolute names stay as they are.
std::string join_path(const std::string& folder, const std::string& path);
/// [first, last) of `count` that a selection means.
Result<std::pair<int64_t, int64_t>> selected_range(const program::Selection& selection, int64_t count);

/// The data set and split of that name, or null.
const program::DataSet* find_data(const program::Program& program, std::string_view name);
const program::Split* find_split(const program::DataSet& data, std::string_view name);

/// An error naming the first value outside the field's range. `origin` says where the values are from, `first` the number of the first sample there.
Status check_range(const FieldType& field, const uint8_t* values, int64_t samples, const std::string& origin, int64_t first = 0);

// ---- the readers: a file's content to columns. `path` is for messages.

/// IDX (MNIST's format): big-endian, element type and dimensions in the header. One field.
Result<Column> read_idx(const Bytes& content, const FieldType& field, const std::string& path);
/// NPY version 1 to 3, C order, little-endian. One field.
Result<Column> read_npy(const Bytes& content, const FieldType& field, const std::string& path);
/// Numbers separated by commas, semicolons or blanks, a sample a line, perhaps a header line. Columns fill the fields in order.
Result<std::vector<Column>> read_csv(const Bytes& content, const std::vector<FieldType>& fields, const std::string& path);
/// What files hold, before a split's selections.
struct Contents {
  std::vector<Column> columns;
  std::vector<std::string> classes;
  size_t file_bytes = 0;
};
/// CIFAR-10's binary files, joined: a picture u8[32, 32, 3] and a label.
Result<Contents> read_cifar10(const std::vector<std::string>& paths, const std::vector<FieldType>& fields);

struct PictureOptions {
  std::string fit;        // "stretch", "crop", or "": pictures have the field's size
  bool convert = false;   // grey to colour and back
};
/// PNG and JPEG files. With a label: in a folder for each class, whose number is its place among `classes` (none: among the names, sorted). Without: in the
/// folder itself, or a single file.
Result<Contents> read_images(const std::string& folder, const std::vector<FieldType>& fields, const PictureOptions& options, std::vector<std::string> classes);

/// By the name's end: .npy, .csv/.tsv/.txt, .png/.jpg/.jpeg or a folder of pictures, else IDX; files of numbers perhaps with .gz behind.
Result<Column> read_any(const std::string& path, const FieldType& field, const PictureOptions& options = {});

}  // namespace gradc::runtime
