module swrcache/fetch

go 1.19
