# SPDX-License-Identifier: Apache-2.0
"""Whether each panel of a dashboard shows something: its queries are asked as a browser would ask them."""
