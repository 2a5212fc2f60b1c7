# SPDX-License-Identifier: Apache-2.0
"""Runbooks, the on-call guide and the architecture page: from profile, catalogue and evidence to Markdown and a site."""
