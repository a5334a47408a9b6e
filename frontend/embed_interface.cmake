file(READ ${FILE} text)
file(WRITE ${OUT} "// Generated from runtime/gradc.h.\n#include \"frontend/interface_text.h\"\nnamespace gradc {\nstd::string_view interface_text() {\n  return R\"interface(${text})interface\";\n}\n}\n")
