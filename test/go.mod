module github.com/havn-registry/havn/test

go 1.26

require github.com/havn-registry/havn v0.0.0

replace github.com/havn-registry/havn => ../
