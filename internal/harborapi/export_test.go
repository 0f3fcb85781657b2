package harborapi

// Operations answers all operations of the document.
func Operations() []operation { return operations(nil) }

// Works reports whether an operation is offered.
func (o operation) Works() bool { return o.serve != nil }

// HasBody reports whether an operation reads a body.
func (o operation) HasBody() bool { return o.body }

// CSRFHolds is csrfHolds.
var CSRFHolds = csrfHolds

// SettingTexts is settingTexts.
var SettingTexts = settingTexts

// Document is the description of the API.
func Document() []byte { return document }

// Operation is one of the document.
type Operation = operation
