// The table of operations and its document.
#include <catch2/catch.hpp>

#include <fstream>
#include <set>
#include <sstream>

#include "ir/ops.h"

using namespace gradc::ir;

TEST_CASE("names of operations and attributes are found again") {
  std::set<std::string_view> names;
  for (Op op : all_ops()) {
    CHECK(op_from_name(info(op).name) == op);
    CHECK(names.insert(info(op).name).second);
    CHECK(!info(op).doc.empty());
    CHECK(is_map(op) == ((info(op).traits & elementwise) != 0));
    for (Attr attr : info(op).attributes) CHECK(attr_from_name(attr_name(attr)) == attr);
    if (info(op).traits & commutative) CHECK(info(op).operands == 2);
  }
  CHECK(info(Op::not_).name == "not");
  CHECK(!op_from_name("not_"));
  CHECK(!op_from_name("matmul"));
  CHECK(!attr_from_name("axes_"));
}

TEST_CASE("ir/OPERATIONS.md is the table of ops.def (gradc ops --markdown > ir/OPERATIONS.md)") {
  std::ifstream file("ir/OPERATIONS.md");
  std::ostringstream text;
  text << file.rdbuf();
  CHECK(text.str() == operations_table());
}
