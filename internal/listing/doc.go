// Package listing is what a client asks of a list: which entries (q), in which order (sort), and which page. It reads the texts of Harbor's API and makes SQL of them for the fields
// that a list names. Nothing that a client wrote gets into SQL: names of fields choose columns of a table in the code, and values are parameters.
package listing
