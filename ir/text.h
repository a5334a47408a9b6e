// The text form of the graph. Every dump is in it, golden tests and kernel keys are made of it, and any of it can be read
// back: printing, parsing and printing again is the identity.
//
//   module fashion_mlp
//
//   file fashion.grad = "models/fashion.grad"
//
//   parameter @net.w : f32[784, 10]  @fashion.grad:9:11
//   state @net.mu : f32[10] frozen
//
//   function train.adam {
//     %image = input : u8[128, 784]  @fashion.grad:3:14
//     @net.w = variable : f32[784, 10]  @fashion.grad:9:11
//     %2 = cast %image : f32[128, 784]  @fashion.grad:17:9
//     %3 = contract %2, @net.w {spec = "mk,kn->mn"} : f32[128, 10]  @fashion.grad:17:15
//     %4 = constant {value = -0} : f32[128, 10]
//     %5 = max %3, %4 : f32[128, 10]  @fashion.grad:17:15 gradient
//     return loss = %5, write @net.w = %3
//   }
//
// - A node's number is its position. Parsing takes any labels and renumbers, so lines can be added and deleted by hand.
// - The first read of an input or variable goes by its name, with no number and no `name` attribute.
// - Attributes stand in the order of ops.def. `element` and `shape` are left out where they repeat the result's type.
// - The type after `:` may be left out when writing by hand, where operands and attributes determine it.
// - `@file:line:column` is the location; `gradient` or `update` after it is its role. Both may be absent.
// - Names of other characters than letters, digits and `_ . / -` are quoted: %"a b", @"adam/m/net w".
// - `#` begins a comment.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "ir/diagnostics.h"
#include "ir/graph.h"

namespace gradc::ir {

struct PrintOptions {
  bool locations = true;
  const Module* module = nullptr;   // names the files of locations; without it they are file1, file2, ...
};

std::string print(const Module&);
std::string print(const Function&, const PrintOptions& = {});
/// One line of a function, without its indentation: for messages.
std::string print(const Function&, Value, const PrintOptions& = {});
/// "%3", "%image" or "@net.w": what the text form calls a node; or all nodes, in order.
std::string label(const Function&, Value);
std::vector<std::string> labels(const Function&);
/// "axes = [0], value = 0": a node's attributes, without those that its type repeats.
std::string print_attributes(const Node&);
/// A double such that reading it back gives the same bits: "0.1", "-0", "inf", "nan", "nan(0x7ff8000000000001)".
std::string print_number(double);

/// Reads and verifies. Nothing is returned if there was any error.
std::optional<Module> parse_module(FileId, const Sources&, Diagnostics&);
/// Reads a text of one function; its variables and files need not be declared.
std::optional<Function> parse_function(FileId, const Sources&, Diagnostics&);

}  // namespace gradc::ir
