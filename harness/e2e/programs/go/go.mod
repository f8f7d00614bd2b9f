module px.dev/harness/traffic

go 1.22
