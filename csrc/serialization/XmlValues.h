#ifndef OPENMMNNP_XML_VALUES_H_
#define OPENMMNNP_XML_VALUES_H_

#include <openmm/serialization/SerializationNode.h>
#include <string>
#include <vector>

namespace openmmnnp {

/**
 * Properties of a SerializationNode, read strictly.  OpenMM's own getters turn text that is no number into 0; these
 * throw OpenMMException with the node, the property and the text.  Without a default the property must be there.
 */
std::string readString(const OpenMM::SerializationNode& node, const std::string& property);
int readInt(const OpenMM::SerializationNode& node, const std::string& property);
int readInt(const OpenMM::SerializationNode& node, const std::string& property, int defaultValue);
bool readBool(const OpenMM::SerializationNode& node, const std::string& property, bool defaultValue);
double readDouble(const OpenMM::SerializationNode& node, const std::string& property);
/** Integers separated by spaces, all in one property: compact, and linear in time for any length. */
std::vector<int> readInts(const OpenMM::SerializationNode& node, const std::string& property);
/** Likewise numbers; all bits are kept. */
std::vector<double> readDoubles(const OpenMM::SerializationNode& node, const std::string& property);
void writeInts(OpenMM::SerializationNode& node, const std::string& property, const std::vector<int>& values);
void writeDoubles(OpenMM::SerializationNode& node, const std::string& property, const std::vector<double>& values);

/** The child of that name, or null. */
const OpenMM::SerializationNode* findChild(const OpenMM::SerializationNode& node, const std::string& name);
/** Check that the node's version is between 1 and `newest`, and return it. */
int readVersion(const OpenMM::SerializationNode& node, const std::string& type, int newest);

} // namespace openmmnnp

#endif // OPENMMNNP_XML_VALUES_H_
