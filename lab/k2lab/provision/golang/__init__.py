# SPDX-License-Identifier: Apache-2.0
"""Programs in Go: built from pinned modules into the shared cache, on machines with or without a Go of their own."""
