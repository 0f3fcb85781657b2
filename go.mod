module github.com/havn-registry/havn

go 1.26
