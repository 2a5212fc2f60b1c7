module k2.hardening/lab/grafana

go 1.24.0

require github.com/grafana/grafana v1.9.2-0.20230609164553-81d85ce8028d // indirect
