// The reference keeps up with the language: its examples parse (```grad blocks as files, ```grad body blocks as the body of
// a function), and it names every function of the library, each of which is documented where it stands.
#include <catch2/catch.hpp>

#include <fstream>
#include <map>
#include <sstream>

#include "frontend/parser.h"
#include "frontend/std_files.h"

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

TEST_CASE("the reference names the whole library, and the library documents itself") {
  std::stringstream reference;
  reference << std::ifstream("frontend/REFERENCE.md").rdbuf();
  std::string section = reference.str();
  section = section.substr(section.find("\n## Library"));
  std::map<std::string, std::string> row;   // by file
  std::istringstream lines(section);
  for (std::string line; std::getline(lines, line);)
    for (const StdFile& f : std_files())
      if (line.find("`" + std::string(f.name) + "`") != std::string::npos) row[std::string(f.name)] = line.substr(line.find("|", 2));
  for (const StdFile& f : std_files()) {
    Sources sources;
    const FileId file = sources.add(std::string(f.name), std::string(f.text));
    Diagnostics diagnostics(sources);
    const ast::File tree = parse(file, sources, diagnostics);
    CHECK_FALSE(tree.doc.empty());
    std::string names = row[std::string(f.name)];
    for (char& c : names)
      if (c == '`') c = ' ';
    for (const ast::Item& item : tree.items) {
      const auto* function = std::get_if<ast::Function>(&item.node);
      const auto* constant = std::get_if<ast::Constant>(&item.node);
      const std::string name = function ? function->name.text : constant ? constant->let.names[0].text : "";
      INFO(f.name << ": " << name);
      CHECK_FALSE((function ? function->doc : constant ? constant->doc : "").empty());
      CHECK((names + " ").find(" " + name + " ") != std::string::npos);
    }
  }
}
