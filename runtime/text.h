// Texts as data: the part of a file that a split means, tokens, and windows of them.
#pragma once
#include <string>
#include <vector>

#include "runtime/data.h"
#include "runtime/vocabulary.h"

namespace gradc::runtime {

/// The windows of a split's text. `vocabularies`: the data set's is taken from there, or learned and put there.
Result<Contents> read_text(const program::DataSet& data, const program::Split& split, const std::vector<FieldType>& fields, const std::string& folder, Vocabularies& vocabularies);

}  // namespace gradc::runtime
