package falco

// Code is Falco's name of a kind of error or warning.
type Code string

// Errors, which keep a file from being loaded.
const (
	ErrFileRead         Code = "LOAD_ERR_FILE_READ"
	ErrYAMLParse        Code = "LOAD_ERR_YAML_PARSE"
	ErrYAMLValidate     Code = "LOAD_ERR_YAML_VALIDATE"
	ErrCompileCondition Code = "LOAD_ERR_COMPILE_CONDITION"
	ErrCompileOutput    Code = "LOAD_ERR_COMPILE_OUTPUT"
	ErrValidate         Code = "LOAD_ERR_VALIDATE"
)

// Warnings.
const (
	WarnUnknownSource    Code = "LOAD_UNKNOWN_SOURCE"
	WarnUnsafeNACheck    Code = "LOAD_UNSAFE_NA_CHECK"
	WarnNoEventType      Code = "LOAD_NO_EVTTYPE"
	WarnUnknownFilter    Code = "LOAD_UNKNOWN_FILTER"
	WarnUnusedMacro      Code = "LOAD_UNUSED_MACRO"
	WarnUnusedList       Code = "LOAD_UNUSED_LIST"
	WarnUnknownItem      Code = "LOAD_UNKNOWN_ITEM"
	WarnDeprecated       Code = "LOAD_DEPRECATED_ITEM"
	WarnAppendNoValues   Code = "LOAD_APPEND_NO_VALUES"
	WarnExceptionName    Code = "LOAD_EXCEPTION_NAME_NOT_UNIQUE"
	WarnMacroName        Code = "LOAD_INVALID_MACRO_NAME"
	WarnListName         Code = "LOAD_INVALID_LIST_NAME"
	WarnCompileCondition Code = "LOAD_COMPILE_CONDITION"
	WarnUnknownKey       Code = "LOAD_UNKNOWN_KEY"
	// WarnNotInGyre is not one of Falco's: a rule uses a field or an event type that gyre does not
	// have, or cannot match because of that.
	WarnNotInGyre Code = "LOAD_NOT_IN_GYRE"
)

// descriptions say in a few words what a code means.
var descriptions = map[Code]string{
	ErrFileRead:          "the file cannot be read",
	ErrYAMLParse:         "the text is not YAML",
	ErrYAMLValidate:      "the YAML does not have the form of rules",
	ErrCompileCondition:  "a condition is wrong",
	ErrCompileOutput:     "an output is wrong",
	ErrValidate:          "a rule, macro, list or exception is wrong",
	WarnUnknownSource:    "no events of this source are evaluated, the rule is skipped",
	WarnUnsafeNACheck:    "comparing with <NA> does not tell whether a field is there, exists does",
	WarnNoEventType:      "the condition holds for too many event types, which costs time",
	WarnUnknownFilter:    "a field or event type is not known, the rule is skipped",
	WarnUnusedMacro:      "nothing uses the macro",
	WarnUnusedList:       "nothing uses the list",
	WarnUnknownItem:      "an item of the file is not known, it is ignored",
	WarnDeprecated:       "something is out of date",
	WarnAppendNoValues:   "an exception is appended without values",
	WarnExceptionName:    "several exceptions of a rule have the same name",
	WarnMacroName:        "the name of the macro cannot be used in conditions",
	WarnListName:         "the name of the list cannot be used in conditions",
	WarnCompileCondition: "a condition is doubtful",
	WarnUnknownKey:       "a key is not known, it is ignored",
	WarnNotInGyre:        "gyre has no such field or event type, it counts as never there",
}
