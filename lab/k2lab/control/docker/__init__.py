# SPDX-License-Identifier: Apache-2.0
"""A lab in containers: the engine, the image they share, and Compose."""
