// The profile: kernels with their time, rate, share and source lines, the slowest first. Calls of one kernel with the same name and lines are
// one row. What is not in kernels is waiting at barriers, filling inputs excluded: the share is of threads x time in entries.
#include <algorithm>
#include <fmt/format.h>

#include "runtime/command.h"
#include "runtime/json.h"

namespace gradc::runtime {

namespace {
struct Row {
  std::string entry, kernel, lines;
  double seconds = 0, flops = 0, bytes = 0;   // seconds: of all threads together
  uint64_t runs = 0;
};
struct KernelTimes {
  std::vector<Row> rows;
  double seconds = 0, waiting = 0;   // of all threads together
};
}  // namespace

// "fashion.grad:15, 16, gradient of 16" from "/home/me/fashion.grad:15", "/home/me/fashion.grad:16", "gradient of /home/me/fashion.grad:16".
static std::string joined_lines(const std::vector<std::string>& list) {
  std::string lines, file;
  for (std::string line : list) {
    size_t space = line.rfind(' '), path = space == std::string::npos ? 0 : space + 1, colon = line.rfind(':');
    if (colon != std::string::npos && colon > path) {
      size_t slash = line.rfind('/', colon), name = slash == std::string::npos || slash < path ? path : slash + 1;
      std::string here = line.substr(name, colon - name);
      line = line.substr(0, path) + (here == file ? line.substr(colon + 1) : line.substr(name));
      file = here;
    }
    lines += (lines.empty() ? "" : ", ") + line;
  }
  return lines;
}

static KernelTimes gather(const Model& model) {
  KernelTimes table;
  for (auto& [entry, times] : model.profile()) {
    double in_kernels = 0;
    int active = entry->parallel ? model.threads() : 1;
    for (size_t p = 0; p < entry->phases.size(); ++p)
      for (const ResolvedStrand& strand : entry->phases[p].strands)
        for (const ResolvedCall& call : strand.calls) {
          Row row{entry->name, text(call.source->name()), joined_lines(model.source_lines(*call.source))};
          uint64_t nanoseconds = 0;
          for (const auto& thread : times.threads) nanoseconds += thread.nanoseconds[call.index];
          row.seconds = double(nanoseconds) * 1e-9;
          row.runs = times.runs;
          row.flops = call.source->flops() * double(times.runs) * entry->rounds(p);
          row.bytes = call.source->bytes() * double(times.runs) * entry->rounds(p);
          in_kernels += row.seconds;
          auto same = std::find_if(table.rows.begin(), table.rows.end(), [&](const Row& each) { return each.entry == row.entry && each.kernel == row.kernel && each.lines == row.lines; });
          if (same == table.rows.end()) table.rows.push_back(row);
          else same->seconds += row.seconds, same->flops += row.flops, same->bytes += row.bytes, same->runs += row.runs;
        }
    double all = double(times.wall_nanoseconds) * 1e-9 * active;
    table.seconds += all;
    table.waiting += std::max(0.0, all - in_kernels);
  }
  std::stable_sort(table.rows.begin(), table.rows.end(), [](const Row& a, const Row& b) { return a.seconds > b.seconds; });
  return table;
}

std::string profile_text(const Model& model) {
  KernelTimes table = gather(model);
  size_t entry_width = 5, kernel_width = 6;
  for (const Row& row : table.rows) entry_width = std::max(entry_width, row.entry.size()), kernel_width = std::max(kernel_width, row.kernel.size());
  kernel_width = std::min<size_t>(kernel_width, 60);
  std::string out = fmt::format("{:>9} {:>6} {:>9} {:>8} {:>7}  {:{}}  {:{}}  lines\n", "time ms", "share", "us a run", "GFLOP/s", "GB/s", "entry", entry_width, "kernel", kernel_width);
  for (const Row& row : table.rows) {
    if (row.runs == 0 || row.seconds == 0) continue;
    out += fmt::format("{:9.1f} {:5.1f}% {:9.1f} {:8.1f} {:7.1f}  {:{}}  {:{}.{}}  {}\n", row.seconds * 1e3, 100 * row.seconds / table.seconds, row.seconds * 1e6 / double(row.runs),
                       row.flops / row.seconds * 1e-9, row.bytes / row.seconds * 1e-9, row.entry, entry_width, row.kernel, kernel_width, kernel_width, row.lines);
  }
  if (table.seconds > 0) out += fmt::format("{:9.1f} {:5.1f}%  barriers, waiting, starting\n", table.waiting * 1e3, 100 * table.waiting / table.seconds);
  return out;
}

std::string profile_json(const Model& model) {
  KernelTimes table = gather(model);
  std::vector<std::string> rows;
  for (const Row& row : table.rows) {
    if (row.runs == 0) continue;
    rows.push_back(JsonObject().add("entry", std::string_view(row.entry)).add("kernel", std::string_view(row.kernel)).add("lines", std::string_view(row.lines))
                       .add("runs", int64_t(row.runs)).add("ms", row.seconds * 1e3).add("share", row.seconds / table.seconds)
                       .add("gflops", row.seconds > 0 ? row.flops / row.seconds * 1e-9 : 0.0).add("gbytes", row.seconds > 0 ? row.bytes / row.seconds * 1e-9 : 0.0).text());
  }
  return json_array(rows);
}

}  // namespace gradc::runtime
