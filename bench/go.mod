module github.com/havn-registry/havn/bench

go 1.26
