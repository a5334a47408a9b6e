// Every example of the reference parses: ```grad blocks as files, ```grad body blocks as the body of a function.
#include <catch2/catch.hpp>

#include <fstream>

#include "frontend/parser.h"

using namespace gradc;

TEST_CASE("the examples of the reference are well formed") {
  std::ifstream in("frontend/REFERENCE.md");
  REQUIRE(in);   // tests run from the checkout's root
  int examples = 0;
  std::string line, text;
  bool inside = false, body = false;
  while (std::getline(in, line)) {
    if (!inside) {
      if (!line.starts_with("```grad")) continue;
      inside = true;
      body = line == "```grad body";
      text = body ? "fn example() {\n" : "";
    } else if (line == "```") {
      inside = false;
      ++examples;
      if (body) text += "}\n";
      Sources sources;
      const FileId file = sources.add("REFERENCE.md", text);
      Diagnostics diagnostics(sources);
      parse(file, sources, diagnostics);
      INFO(diagnostics.render(false));
      CHECK_FALSE(diagnostics.failed());
    } else {
      text += line + "\n";
    }
  }
  CHECK(examples >= 8);
}
