#pragma once

#include <string>

#include "base/result.h"

namespace sallyport::guest {

/// All roots and the gate's CA for a Java whose own trust store could not be extended.
constexpr const char* kJavaStore = "/run/sallyport/cacerts.jks";

enum class JavaTrust {
  kNothingToDo,    ///< There is no Java, or each store of it has the CA.
  kNeedsVariable,  ///< kJavaStore is there for the stores that could not be extended.
};

/// Adds the gate's CA to the trust stores of each Java where distributions and their images have
/// them. A store of another format or that can't be written is left as it is; then kJavaStore is
/// made of BUNDLE's roots, a PEM file that has the CA. Without a Java this costs a few failed
/// lookups. Nothing here is worth failing the sandbox for: a store that can't be made leaves Java
/// untrusting.
JavaTrust InstallJavaTrust(const std::string& ca_pem, const char* bundle);

}  // namespace sallyport::guest
