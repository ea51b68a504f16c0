package rule

import _ "embed"

// Schema is the JSON Schema of rule files, for editors. It knows shapes and names; what conditions mean only [Parse] and
// the compiler of rule sets know.
//
//go:embed schema.json
var Schema string
