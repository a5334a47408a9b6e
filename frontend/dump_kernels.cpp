// `gradc dump --stage kernels`: an entry as it will run. Every reason printed here was noted by the pass that decided (passes/fusion*.cpp,
// codegen/plan.cpp); nothing is worked out a second time.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <map>
#include <set>

#include "codegen/emit.h"
#include "frontend/driver_lower.h"

namespace gradc {
namespace {
using ir::Attr;
using ir::Op;

class EntryText {
 public:
  EntryText(const program::EntryT& entry, const FusedFunction& fused, const DumpRequest& request) : entry_(entry), f_(fused.function), notes_(fused.notes), request_(request) {}

  std::string run() {
    line(0, "entry {}: {}, arena {} bytes{}{}", entry_.name, count(entry_.phases.size(), "phase"), entry_.arena_bytes,
         entry_.recomputed > 0 ? fmt::format(", {:.3f} MFLOP computed again", entry_.recomputed * 1e-6) : "",
         entry_.first_update < entry_.phases.size() ? fmt::format(", variables are written from phase {} on", entry_.first_update) : "");
    size_t number = 0;
    for (size_t p = 0; p < entry_.phases.size(); ++p) {
      line(0, "");
      if (p > 0) barrier(p);
      for (const auto& loop : entry_.loops)
        if (loop->begin == p) line(1, "{} of {}: phase{} {}", count(loop->rounds, "round"), loop->name, loop->end - loop->begin > 1 ? "s" : "", loop->end - loop->begin > 1 ? fmt::format("{} to {}", loop->begin, loop->end - 1) : fmt::format("{}", p));
      line(1, "phase {}", p);
      for (const auto& strand : entry_.phases[p]->strands) {
        const program::CallT& first = *strand->calls.front();
        line(2, "strand: {}{}", count(strand->granules, "granule"), strand->granules > 1 ? fmt::format(" of {}", count(first.grain, "unit")) : "");
        for (const auto& planned : strand->calls) call(*planned, number++);
      }
    }
    return text_;
  }

 private:
  const program::EntryT& entry_;
  const ir::Function& f_;                // the entry's
  const ir::Function* of_ = nullptr;    // of the call that is printed
  const codegen::EntryNotes& notes_;
  const DumpRequest& request_;
  std::string text_;

  template <typename... Args>
  void line(int depth, fmt::format_string<Args...> format, Args&&... args) {
    text_ += std::string(2 * depth, ' ') + fmt::format(format, std::forward<Args>(args)...) + "\n";
  }
  static std::string count(uint64_t n, std::string_view what) { return fmt::format("{} {}{}", n, what, n == 1 ? "" : "s"); }

  static std::string numbers(const std::set<int>& calls) { return fmt::format("#{}", fmt::join(calls, ", #")); }

  // Edges of one reason together.
  void barrier(size_t p) {
    std::map<std::pair<std::string, int>, std::set<int>> later;
    for (const auto& edge : notes_.barriers[p]) later[{edge.why, edge.earlier}].insert(edge.later);
    std::map<std::pair<std::set<int>, std::string>, std::set<int>> earlier;
    for (const auto& [edge, calls] : later) earlier[{calls, edge.first}].insert(edge.second);
    line(1, "barrier");
    for (const auto& [edge, calls] : earlier) line(2, "{} after {}: {} {}", numbers(edge.first), numbers(calls), edge.first.size() > 1 ? "each" : "it", edge.second);
  }

  std::string name(ir::Value v) const {
    const ir::Node& node = (*of_)[v];
    if (node.op == Op::input) return node.attrs.text(Attr::name);
    if (node.op == Op::variable) return "@" + node.attrs.text(Attr::name);
    return fmt::format("%{}", v.id);
  }
  static std::string place(const program::Place& at) { return fmt::format("{}+{}", program::EnumNameSpace(at.space()), at.offset()); }

  void call(const program::CallT& planned, size_t number) {
    const codegen::EntryNotes::Call& note = notes_.calls[number];
    of_ = note.function ? note.function.get() : &f_;
    const ir::Kernel& kernel = note.call.kernel;
    line(3, "#{} {}  (kernel {})", number, planned.name, planned.kernel);
    line(4, "{}", codegen::schedule(kernel, request_.target, request_.kernels.choice(planned.kernel)));
    computes(kernel);
    edges(planned, note);
    std::vector<std::string> reads, writes;
    for (size_t a = 0; a < note.call.arguments.size(); ++a)
      if (note.from[a] < 0) reads.push_back(fmt::format("{}{} at {}", name(note.call.arguments[a]), order(note.call.arguments[a], kernel.argument_layout(a)), place(planned.args[a])));
    for (size_t r = 0; r < planned.outputs; ++r) writes.push_back(result(note.call, r, planned.args[planned.args.size() - planned.outputs + r]));
    if (!reads.empty()) line(4, "reads {}", fmt::join(reads, ", "));
    line(4, "writes {}", fmt::join(writes, ", "));
  }

  // Edges from one kernel that were cut for one reason together.
  void edges(const program::CallT& planned, const codegen::EntryNotes::Call& note) {
    std::vector<std::pair<std::pair<int, std::string>, std::vector<std::string>>> cuts;
    for (size_t a = 0; a < note.call.arguments.size(); ++a) {
      if (note.from[a] < 0) continue;
      ir::Value v = note.call.arguments[a];
      std::pair edge{note.from[a], note.call.cuts.empty() ? "it copies a result" : note.call.cuts[a]};
      auto known = std::find_if(cuts.begin(), cuts.end(), [&](const auto& each) { return each.first == edge; });
      if (known == cuts.end()) known = cuts.insert(cuts.end(), {edge, {}});
      known->second.push_back(fmt::format("{} {}{} at {}", name(v), type(v), order(v, note.call.kernel.argument_layout(a)), place(planned.args[a])));
    }
    for (const auto& [edge, values] : cuts)
      line(4, "apart from #{} ({}): {}", edge.first, values.size() > 2 ? fmt::format("{} values", values.size()) : fmt::format("{}", fmt::join(values, ", ")), edge.second);
  }

  std::string type(ir::Value v) const { return fmt::format("{}{}", ir::element_name(of_->type(v).element), ir::to_string(of_->type(v).shape)); }

  // How a matrix lies that is not row-major.
  std::string order(ir::Value v, const ir::Layout& layout) const { return layout.row_major() ? "" : " as " + ir::to_string(layout, of_->type(v).shape); }

  // What a result is to the function, if it is anything: "loss", "@net.w".
  std::string result(const ir::KernelCall& call, size_t r, const program::Place& at) const {
    if (r >= call.results.size()) return place(at);   // a copy
    for (const ir::Result& out : of_->results)
      if (out.value == call.results[r]) return fmt::format("{}{}{} at {}", out.write ? "@" : "", out.name, order(out.value, call.kernel.result_layout(r)), place(at));
    return fmt::format("{} {}{} at {}", name(call.results[r]), type(call.results[r]), order(call.results[r], call.kernel.result_layout(r)), place(at));
  }

  // The operations that are fused, by the lines that they come from.
  void computes(const ir::Kernel& kernel) {
    std::vector<std::pair<std::string, std::vector<std::string_view>>> lines;
    for (const ir::Node& node : kernel.body.nodes) {
      if (!ir::is_map(node.op) && !ir::is_reduce(node.op) && node.op != Op::contract && node.op != Op::random) continue;
      std::string from = node.loc.known() ? request_.module.describe(node.loc) : "";
      auto known = std::find_if(lines.begin(), lines.end(), [&](const auto& each) { return each.first == from; });
      if (known == lines.end()) known = lines.insert(lines.end(), {from, {}});
      known->second.push_back(ir::info(node.op).name);
    }
    for (const auto& [from, ops] : lines) line(4, "{}{}{}", fmt::join(ops, ", "), from.empty() ? "" : "  -- ", from);
  }
};
}  // namespace

std::string kernels_text(const DumpRequest& request) {
  std::vector<bool> used(request.kernels.kernels().size(), request.function.empty());
  std::string text;
  for (size_t e = 0; e < request.image.entries.size(); ++e) {
    const program::EntryT& entry = *request.image.entries[e];
    if (!request.function.empty() && entry.name != request.function) continue;
    text += EntryText(entry, request.fused[e], request).run() + "\n";
    for (const auto& phase : entry.phases)
      for (const auto& strand : phase->strands)
        for (const auto& call : strand->calls) used[call->kernel] = true;
  }
  for (uint32_t i = 0; i < used.size(); ++i)
    if (used[i]) text += fmt::format("# kernel {}: {}\n{}\n", i, ir::describe(request.kernels.kernels()[i]), request.kernels.text(i));
  return text;
}
}  // namespace gradc
