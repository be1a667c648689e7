--- Loaded once, before busted starts to give each spec file a package.loaded of its own: launching seals the state,
--- so the net under test cannot be launched again for the next file.
package.path = "./?.lua;" .. package.path
require("spec.support.subject")
