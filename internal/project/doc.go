// Package project is the projects and what people say of them: who may see them, their metadata, which findings of scanners they allow.
//
// Who may do what is decided before; here are the rules that hold for everybody.
package project
